"""What the app is composed of; each draws what `Live` says and posts what a person wants."""
