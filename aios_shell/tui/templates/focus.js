// Keys go to the app as soon as it is there, without a click first.
addEventListener("load", () => {
  const focus = () => {
    if (document.body.classList.contains("-first-byte")) {
      observer.disconnect();
      document.querySelector(".xterm-helper-textarea").focus();
    }
  };
  const observer = new MutationObserver(focus);
  observer.observe(document.body, { attributes: true });
});
