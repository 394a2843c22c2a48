// A switch that adds up the vectors of workers.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_REDUCE = 0x88BA;
const bit<8> CONTRIBUTION = 1;
const bit<8> RESULT = 2;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header reduce_t {
    bit<8> kind;
    bit<8> slot;
    bit<16> round;
    bit<8> count;
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;
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
        // TODO: add the contribution to its slot; the last one becomes the result.
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action host(bit<48> mac) {
        // TODO: the addresses of the copy.
    }

    table hosts {
        key = {
            std.egress_port: exact;
        }
        actions = {
            host;
            drop;
        }
        default_action = drop();
    }

    apply {
        hosts.apply();
    }
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
