// A multicast router.
#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
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
    ipv4_t ipv4;
}

struct metadata_t {
    bit<9> upstream;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x0800: ipv4;
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

    action upstream(bit<9> port) {
        meta.upstream = port;
    }

    action replicate(bit<16> group) {
        std.mcast_grp = group;
    }

    table sources {
        key = {
            hdr.ipv4.src: lpm;
        }
        actions = {
            upstream;
            drop;
        }
        default_action = drop();
    }

    table groups {
        key = {
            hdr.ipv4.dst: exact;
        }
        actions = {
            replicate;
            drop;
        }
        default_action = drop();
    }

    apply {
        if (!hdr.ipv4.isValid() || hdr.ipv4.dst[31:28] != 0xE || hdr.ipv4.dst[31:8] == 0xE00000 || hdr.ipv4.ttl < 2) {
            drop();
        } else if (sources.apply().hit && meta.upstream == std.ingress_port) {
            groups.apply();
        } else {
            drop();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action link(bit<48> mac, bit<8> threshold) {
        hdr.ethernet.src = mac;
        hdr.ethernet.dst = 24w0x01005e ++ 1w0 ++ hdr.ipv4.dst[22:0];
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
        if (hdr.ipv4.ttl < threshold) {
            mark_to_drop(std);
        }
    }

    table links {
        key = {
            std.egress_port: exact;
        }
        actions = {
            link;
            drop;
        }
        default_action = drop();
    }

    apply {
        if (std.egress_port == std.ingress_port) {
            drop();
        } else {
            links.apply();
        }
    }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(
            hdr.ipv4.isValid(),
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp, hdr.ipv4.ecn, hdr.ipv4.length, hdr.ipv4.id,
                hdr.ipv4.flags, hdr.ipv4.fragment, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
