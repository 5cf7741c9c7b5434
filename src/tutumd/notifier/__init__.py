"""The process that sends notifications. It has no credentials of engines, and no open port."""
