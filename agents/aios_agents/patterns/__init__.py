"""Ways to go about a task, ready to subclass. Every step of the model is JSON under a grammar, and rounds are bounded,
so that they work, and end, with the smallest model.
"""

from aios_agents.patterns.plan import PlanAndExecute
from aios_agents.patterns.react import ReAct
from aios_agents.patterns.reflexion import Reflexion

__all__ = ["PlanAndExecute", "ReAct", "Reflexion"]
