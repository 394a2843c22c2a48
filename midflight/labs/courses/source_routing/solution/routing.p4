// A switch that sends packets where they want to go.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_PATH = 0x88B7;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header path_t {
    bit<16> next;
    bit<8> left;
    bit<8> reserved;
}

header hop_t {
    bit<7> reserved;
    bit<9> port;
}

struct headers_t {
    ethernet_t ethernet;
    path_t path;
    hop_t[8] hops;
}

struct metadata_t {
    bit<8> left;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_PATH: path;
            default: accept;
        }
    }

    state path {
        packet.extract(hdr.path);
        meta.left = hdr.path.left;
        transition select(meta.left) {
            0: accept;
            default: hop;
        }
    }

    state hop {
        packet.extract(hdr.hops.next);
        meta.left = meta.left - 1;
        transition select(meta.left) {
            0: accept;
            default: hop;
        }
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    apply {
        if (!hdr.path.isValid() || hdr.path.left == 0 || std.parser_error != error.NoError) {
            drop();
        } else {
            std.egress_spec = hdr.hops[0].port;
            hdr.hops.pop_front(1);
            hdr.path.left = hdr.path.left - 1;
            if (hdr.path.left == 0) {
                hdr.ethernet.type = hdr.path.next;
                hdr.path.setInvalid();
            }
        }
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
        packet.emit(hdr.ethernet);
        packet.emit(hdr.path);
        packet.emit(hdr.hops);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
