// A cache for a key-value store.
#include <core.p4>
#include <v1model.p4>

const bit<16> SERVER = 7000;
const bit<8> READ = 1;
const bit<8> WRITE = 2;
const bit<8> READ_REPLY = 3;
const bit<8> WRITE_REPLY = 4;

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

header kv_t {
    bit<8> op;
    bit<32> key;
    bit<32> version;
    bit<64> value;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    udp_t udp;
    kv_t kv;
}

struct metadata_t {
    bit<32> index;
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
        transition select(hdr.ipv4.ihl, hdr.ipv4.protocol) {
            (5, 17): udp;
            default: accept;
        }
    }

    state udp {
        packet.extract(hdr.udp);
        // TODO: requests to the server, and its replies.
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

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action cached(bit<16> index) {
        meta.index = (bit<32>)index;
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

    table hot {
        key = {
            hdr.kv.key: exact;
        }
        actions = {
            cached;
            NoAction;
        }
        default_action = NoAction();
        size = 256;
    }

    apply {
        if (!hdr.ipv4.isValid()) {
            drop();
        } else {
            routes.apply();
            // TODO: the cache. So far, every key is looked up, and nothing happens.
            hot.apply();
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
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
