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
        transition select(hdr.udp.sport, hdr.udp.dport) {
            (_, SERVER): kv;
            (SERVER, _): kv;
            default: accept;
        }
    }

    state kv {
        packet.extract(hdr.kv);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    counter(256, CounterType.packets) hits;
    register<bit<32>>(1) misses;
    register<bit<1>>(256) valid;
    register<bit<32>>(256) versions;
    register<bit<64>>(256) values;

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

    action answer(bit<32> version, bit<64> value) {
        hdr.kv.op = READ_REPLY;
        hdr.kv.version = version;
        hdr.kv.value = value;
        bit<48> mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        bit<32> address = hdr.ipv4.dst;
        hdr.ipv4.dst = hdr.ipv4.src;
        hdr.ipv4.src = address;
        bit<16> port = hdr.udp.dport;
        hdr.udp.dport = hdr.udp.sport;
        hdr.udp.sport = port;
        hdr.udp.checksum = 0;
        std.egress_spec = std.ingress_port;
    }

    apply {
        if (!hdr.ipv4.isValid()) {
            drop();
        } else {
            routes.apply();
            if (hdr.kv.isValid()) {
                bool known = hot.apply().hit;
                bit<1> is_valid = 0;
                bit<32> version;
                bit<64> value;
                if (hdr.kv.op == READ && hdr.udp.dport == SERVER) {
                    if (known) {
                        valid.read(is_valid, meta.index);
                        versions.read(version, meta.index);
                        values.read(value, meta.index);
                    }
                    if (is_valid == 1) {
                        hits.count(meta.index);
                        answer(version, value);
                    } else {
                        bit<32> missed;
                        misses.read(missed, 0);
                        misses.write(0, missed + 1);
                    }
                } else if (known && hdr.kv.op == WRITE && hdr.udp.dport == SERVER) {
                    valid.write(meta.index, 0);
                } else if (known && (hdr.kv.op == READ_REPLY || hdr.kv.op == WRITE_REPLY) && hdr.udp.sport == SERVER) {
                    versions.read(version, meta.index);
                    if (hdr.kv.version > version) {
                        versions.write(meta.index, hdr.kv.version);
                        values.write(meta.index, hdr.kv.value);
                        valid.write(meta.index, 1);
                    } else if (hdr.kv.version == version && hdr.kv.op == WRITE_REPLY) {
                        valid.write(meta.index, 1);
                    }
                }
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
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
