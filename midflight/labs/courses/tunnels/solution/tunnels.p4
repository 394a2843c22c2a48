// The edges and the core of a tunnel.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_IPV4 = 0x0800;
const bit<16> TYPE_TUNNEL = 0x88B5;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header tunnel_t {
    bit<16> next;
    bit<16> tunnel;
    bit<8> hops;
    bit<8> reserved;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<6> dscp;
    bit<2> ecn;
    bit<16> length;
    bit<16> id;
    bit<3> flags;
    bit<13> fragment;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

struct headers_t {
    ethernet_t ethernet;
    tunnel_t tunnel;
    ipv4_t ipv4;
}

struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_TUNNEL: tunnel;
            TYPE_IPV4: ipv4;
            default: accept;
        }
    }

    state tunnel {
        packet.extract(hdr.tunnel);
        transition select(hdr.tunnel.next) {
            TYPE_IPV4: ipv4;
            default: accept;
        }
    }

    state ipv4 {
        packet.extract(hdr.ipv4);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action local(bit<9> port) {
        std.egress_spec = port;
    }

    action enter(bit<16> tunnel, bit<9> port) {
        hdr.tunnel.setValid();
        hdr.tunnel.next = hdr.ethernet.type;
        hdr.tunnel.tunnel = tunnel;
        hdr.tunnel.hops = 16;
        hdr.tunnel.reserved = 0;
        hdr.ethernet.type = TYPE_TUNNEL;
        std.egress_spec = port;
    }

    table entry {
        key = {
            hdr.ipv4.dst: lpm;
        }
        actions = {
            enter;
            local;
            drop;
        }
        default_action = drop();
    }

    action transit(bit<9> port) {
        hdr.tunnel.hops = hdr.tunnel.hops - 1;
        std.egress_spec = port;
    }

    action leave(bit<48> mac, bit<9> port) {
        hdr.ethernet.dst = mac;
        hdr.ethernet.type = hdr.tunnel.next;
        hdr.tunnel.setInvalid();
        std.egress_spec = port;
    }

    table core {
        key = {
            hdr.tunnel.tunnel: exact;
        }
        actions = {
            transit;
            leave;
            drop;
        }
        default_action = drop();
    }

    apply {
        if (hdr.tunnel.isValid()) {
            if (hdr.tunnel.hops == 0) {
                drop();
            } else {
                core.apply();
            }
        } else if (hdr.ipv4.isValid()) {
            entry.apply();
        } else {
            drop();
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
        packet.emit(hdr.tunnel);
        packet.emit(hdr.ipv4);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
