// All-reduce for hosts with UDP sockets.
#include <core.p4>
#include <v1model.p4>

const bit<16> WORKERS = 6001;
const bit<16> SWITCH = 6000;
const bit<16> MAGIC = 0x4152;
const bit<16> LENGTH = 8 + 35;

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

header udp_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
}

header reduce_t {
    bit<16> magic;
    bit<8> slot;
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;
    bit<32> v4;
    bit<32> v5;
    bit<32> v6;
    bit<32> v7;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    udp_t udp;
    reduce_t reduce;
}

struct metadata_t {
    bit<1> is_result;
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
        // TODO: UDP, and contributions.
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    bit<8> needed = 0;
    bit<16> receivers = 0;
    bit<32> me = 0;

    action drop() {
        mark_to_drop(std);
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action workers(bit<8> count, bit<16> group, bit<32> address) {
        needed = count;
        receivers = group;
        me = address;
    }

    table setup {
        actions = {
            workers;
        }
        default_action = workers(1, 0, 0);
    }

    table routes {
        key = {
            hdr.ipv4.dst: lpm;
        }
        actions = {
            send;
            drop;
        }
        default_action = drop();
    }

    apply {
        setup.apply();
        if (!hdr.ipv4.isValid()) {
            drop();
        } else if (hdr.ipv4.dst != me) {
            routes.apply();
        } else {
            drop();
            // TODO: add contributions, and send results.
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action host(bit<48> mac, bit<32> ip) {
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
        if (meta.is_result == 1) {
            hosts.apply();
        }
    }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {
        // TODO: the checksum of results.
    }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
