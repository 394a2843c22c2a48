"""The typed form of a P4 program, with names resolved, constants folded and instances created.

This is the front end's result. Generic and constructor parameters are gone: a parser or control that is instantiated
twice appears twice, each with its own fully qualified names. Integer constants of type `int` have the width that their
context requires, so that a body contains no `Integer` type.
"""

from midflight.p4.ir.bodies import (
    Action,
    ActionCall,
    ActionRef,
    Advance,
    Apply,
    Assign,
    Binary,
    Block,
    Break,
    Call,
    CallStatement,
    Case,
    Cast,
    Concat,
    Continue,
    Control,
    CopyIn,
    Declare,
    Emit,
    Exit,
    Expression,
    Extract,
    If,
    Index,
    IsValid,
    Key,
    Last,
    Literal,
    Lookahead,
    Loop,
    Member,
    Next,
    Parser,
    Return,
    Select,
    SetValidity,
    Shift,
    Slice,
    State,
    Statement,
    StructValue,
    Switch,
    Table,
    TableApply,
    TableEntry,
    TableHit,
    Ternary,
    Unary,
    VariableRef,
)
from midflight.p4.ir.entities import (
    EntryKey,
    Instance,
    Keyset,
    Node,
    Parameter,
    Variable,
)
from midflight.p4.ir.program import Program
from midflight.p4.types import Direction

__all__ = [
    "Action", "ActionCall", "ActionRef", "Advance", "Apply", "Assign", "Binary", "Block", "Break", "Call",
    "CallStatement", "Case", "Cast", "Concat", "Continue", "Control", "CopyIn", "Declare", "Direction", "Emit",
    "EntryKey", "Exit", "Expression", "Extract", "If", "Index", "Instance", "IsValid", "Key", "Keyset", "Last",
    "Literal", "Lookahead", "Loop", "Member", "Next", "Node", "Parameter", "Parser", "Program", "Return", "Select",
    "SetValidity", "Shift", "Slice", "State", "Statement", "StructValue", "Switch", "Table", "TableApply",
    "TableEntry", "TableHit", "Ternary", "Unary", "Variable", "VariableRef",
]  # fmt: skip
