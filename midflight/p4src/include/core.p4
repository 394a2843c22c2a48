/*
 * The core library of P4_16: what every architecture has.
 * P4_16 language specification, version 1.2.5, appendix D.
 */
#ifndef _CORE_P4_
#define _CORE_P4_

/* What a parser may end with; programs add their own. */
error {
    NoError,
    PacketTooShort,         // extract, lookahead or advance beyond the packet's end
    NoMatch,                // no case of a select matched
    StackOutOfBounds,       // a header stack's next or last outside of it
    HeaderTooShort,         // more bits for a varbit field than it can hold
    ParserTimeout,          // the parser ran for too long
    ParserInvalidArgument   // an argument that the operation does not take
}

/* The packet as a parser reads it. */
extern packet_in {
    // Fill a header of fixed size, and make it valid.
    void extract<T>(out T hdr);
    // Fill a header whose varbit field takes that many bits.
    void extract<T>(out T variableSizeHeader, in bit<32> variableFieldSizeInBits);
    // Read ahead without moving on.
    T lookahead<T>();
    // Skip bits.
    void advance(in bit<32> sizeInBits);
    // The packet's length in bytes, where the target knows it.
    bit<32> length();
}

/* The packet as a deparser writes it. */
extern packet_out {
    // Append a header where it is valid; of a stack or struct, every valid header in turn.
    void emit<T>(in T hdr);
}

/* Leave the parser with an error unless a condition holds. */
extern void verify(in bool check, in error toSignal);

/* An action that does nothing: the default action of tables that name none. */
@noWarn("unused")
action NoAction() {}

/* How a table may match a key field. */
match_kind {
    exact,
    ternary,
    lpm
}

/* Conditions that must hold while compiling. */
extern bool static_assert(bool check, string message);
extern bool static_assert(bool check);

#endif
