/*
 * v1model, the architecture of BMv2's simple_switch:
 * parser, checksum verification, ingress, traffic manager, egress, checksum computation, deparser.
 *
 * Define V1MODEL_VERSION as 20200408 or later to choose the types of indices, as newer programs do.
 */
#ifndef _V1_MODEL_P4_
#define _V1_MODEL_P4_

#include <core.p4>

#ifndef V1MODEL_VERSION
#define V1MODEL_VERSION 20180101
#endif

const bit<32> __v1model_version = V1MODEL_VERSION;

match_kind {
    range,
    optional,   // one value, or any
    selector    // an input of an action selector's hash
}

#if V1MODEL_VERSION >= 20200408
typedef bit<9> PortId_t;
#else
#define PortId_t bit<9>
#endif

/* What the switch and the program tell each other about a packet. */
@metadata
@name("standard_metadata")
struct standard_metadata_t {
    PortId_t ingress_port;              // where the packet came in
    PortId_t egress_spec;               // ingress: where it shall leave; the drop port drops it
    PortId_t egress_port;               // egress: where it will leave
    bit<32> instance_type;              // 0 for a packet off the wire; otherwise how the copy was made
    bit<32> packet_length;              // bytes
    bit<32> enq_timestamp;              // microseconds: entry to the queue
    bit<19> enq_qdepth;                 // packets in the queue on entry
    bit<32> deq_timedelta;              // microseconds spent in the queue
    bit<19> deq_qdepth;                 // packets in the queue on leaving
    bit<48> ingress_global_timestamp;   // microseconds: start of ingress
    bit<48> egress_global_timestamp;    // microseconds: start of egress
    bit<16> mcast_grp;                  // ingress: multicast group, 0 for none
    bit<16> egress_rid;                 // egress: which copy of a multicast this is
    bit<1> checksum_error;              // 1 where verify_checksum found a wrong checksum
    error parser_error;                 // how the parser ended
    bit<3> priority;                    // queue
}

#if V1MODEL_VERSION < 20200408
#undef PortId_t
#endif

enum CounterType {
    packets,
    bytes,
    packets_and_bytes
}

enum MeterType {
    packets,
    bytes
}

/* What a meter's result means. */
#define V1MODEL_METER_COLOR_GREEN 0
#define V1MODEL_METER_COLOR_YELLOW 1
#define V1MODEL_METER_COLOR_RED 2

/* Arrays of state, their elements chosen by an index. */
#if V1MODEL_VERSION >= 20200408
extern counter<I> {
    counter(bit<32> size, CounterType type);
    void count(in I index);
}

extern meter<I> {
    meter(bit<32> size, MeterType type);
    void execute_meter<T>(in I index, out T result);
}

extern register<T, I> {
    register(bit<32> size);
    void read(out T result, in I index);
    void write(in I index, in T value);
}
#else
extern counter {
    counter(bit<32> size, CounterType type);
    void count(in bit<32> index);
}

extern meter {
    meter(bit<32> size, MeterType type);
    void execute_meter<T>(in bit<32> index, out T result);
}

extern register<T> {
    register(bit<32> size);
    void read(out T result, in bit<32> index);
    void write(in bit<32> index, in T value);
}
#endif

/* State of a table's entries: one element each. */
extern direct_counter {
    direct_counter(CounterType type);
    void count();
}

extern direct_meter<T> {
    direct_meter(MeterType type);
    void read(out T result);
}

/* Ways to share actions among entries, as a table's implementation. */
extern action_profile {
    action_profile(bit<32> size);
}

enum HashAlgorithm {
    crc32,
    crc32_custom,
    crc16,
    crc16_custom,
    random,
    identity,
    csum16,     // the ones' complement sum of the Internet checksum
    xor16
}

extern action_selector {
    action_selector(HashAlgorithm algorithm, bit<32> size, bit<32> outputWidth);
}

/* A number between lo and hi, both included. */
extern void random<T>(out T result, in T lo, in T hi);

/* A message to the control plane. */
extern void digest<T>(in bit<32> receiver, in T data);

/* Let the packet end after ingress or egress; the older form works on the standard metadata unsaid. */
extern void mark_to_drop();
extern void mark_to_drop(inout standard_metadata_t standard_metadata);

/* base + hash(data) mod max, or base where max is 0. */
extern void hash<O, T, D, M>(out O result, in HashAlgorithm algo, in T base, in D data, in M max);

/* Checksums over fields, and over fields and the bytes behind the headers. */
extern void verify_checksum<T, O>(in bool condition, in T data, in O checksum, HashAlgorithm algo);
extern void update_checksum<T, O>(in bool condition, in T data, inout O checksum, HashAlgorithm algo);
extern void verify_checksum_with_payload<T, O>(in bool condition, in T data, in O checksum, HashAlgorithm algo);
extern void update_checksum_with_payload<T, O>(in bool condition, in T data, inout O checksum, HashAlgorithm algo);

/* Deprecated in favour of the four above. */
extern Checksum16 {
    Checksum16();
    bit<16> get<D>(in D data);
}

/* Copies: from ingress or egress to egress. */
enum CloneType {
    I2E,
    E2E
}

extern void clone(in CloneType type, in bit<32> session);
extern void clone_preserving_field_list(in CloneType type, in bit<32> session, bit<8> index);

/* Back to the parser: from ingress with the packet as it came, from egress as it would have left. */
extern void resubmit_preserving_field_list(bit<8> index);
extern void recirculate_preserving_field_list(bit<8> index);

/* Deprecated: the forms that name their metadata. */
extern void resubmit<T>(in T data);
extern void recirculate<T>(in T data);
extern void clone3<T>(in CloneType type, in bit<32> session, in T data);

/* Cut the packet to that many bytes. */
extern void truncate(in bit<32> length);

/* For verification and for the log. */
extern void assert(in bool check);
extern void assume(in bool check);
extern void log_msg(string msg);
extern void log_msg<T>(string msg, in T data);

/* The programmable parts. */
parser Parser<H, M>(
    packet_in b, out H parsedHdr, inout M meta, inout standard_metadata_t standard_metadata);

control VerifyChecksum<H, M>(inout H hdr, inout M meta);

control Ingress<H, M>(inout H hdr, inout M meta, inout standard_metadata_t standard_metadata);

control Egress<H, M>(inout H hdr, inout M meta, inout standard_metadata_t standard_metadata);

control ComputeChecksum<H, M>(inout H hdr, inout M meta);

control Deparser<H>(packet_out b, in H hdr);

package V1Switch<H, M>(
    Parser<H, M> p,
    VerifyChecksum<H, M> vr,
    Ingress<H, M> ig,
    Egress<H, M> eg,
    ComputeChecksum<H, M> ck,
    Deparser<H> dep);

#endif
