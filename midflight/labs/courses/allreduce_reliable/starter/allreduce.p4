// All-reduce that survives loss.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_REDUCE = 0x88BB;
const bit<8> CONTRIBUTION = 1;
const bit<8> RESULT = 2;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header reduce_t {
    bit<8> kind;
    bit<8> worker;
    bit<8> copy;
    bit<8> slot;
    bit<16> round;
    bit<32> v0;
    bit<32> v1;
}

struct headers_t {
    ethernet_t ethernet;
    reduce_t reduce;
}

struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_REDUCE: reduce;
            default: accept;
        }
    }

    state reduce {
        packet.extract(hdr.reduce);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    bit<8> needed = 0;
    bit<16> receivers = 0;

    action workers(bit<8> count, bit<16> group) {
        needed = count;
        receivers = group;
    }

    table setup {
        actions = {
            workers;
        }
        default_action = workers(1, 0);
    }

    apply {
        setup.apply();
        mark_to_drop(std);
        // TODO: the rules of the README.
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {}
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
