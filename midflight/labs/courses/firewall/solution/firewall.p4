// A stateful firewall with a Bloom filter.
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

header tcp_t {
    bit<16> sport;
    bit<16> dport;
    bit<32> seq;
    bit<32> ack;
    bit<4> offset;
    bit<4> reserved;
    bit<8> flags;
    bit<16> window;
    bit<16> checksum;
    bit<16> urgent;
}

header udp_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    tcp_t tcp;
    udp_t udp;
}

struct metadata_t {
    bit<1> from_inside;
    bit<16> sport;
    bit<16> dport;
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
        transition select(hdr.ipv4.protocol, hdr.ipv4.flags[0:0], hdr.ipv4.fragment) {
            (6, 0, 0): tcp;
            (17, 0, 0): udp;
            default: accept;
        }
    }

    state tcp {
        packet.extract(hdr.tcp);
        meta.sport = hdr.tcp.sport;
        meta.dport = hdr.tcp.dport;
        transition accept;
    }

    state udp {
        packet.extract(hdr.udp);
        meta.sport = hdr.udp.sport;
        meta.dport = hdr.udp.dport;
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<1>>(8192) first;
    register<bit<1>>(8192) second;

    bit<32> one;
    bit<32> two;

    action drop() {
        mark_to_drop(std);
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action inside() {
        meta.from_inside = 1;
    }

    action outside() {
        meta.from_inside = 0;
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

    table zones {
        key = {
            std.ingress_port: exact;
        }
        actions = {
            inside;
            outside;
            drop;
        }
        default_action = drop();
    }

    action locate(bit<32> inner, bit<16> inner_port, bit<32> outer, bit<16> outer_port) {
        hash(one, HashAlgorithm.crc32, 32w0, { inner, inner_port, outer, outer_port, hdr.ipv4.protocol }, 32w8192);
        hash(two, HashAlgorithm.crc16, 32w0, { inner, inner_port, outer, outer_port, hdr.ipv4.protocol }, 32w8192);
    }

    apply {
        bit<1> known_first;
        bit<1> known_second;
        if (!hdr.tcp.isValid() && !hdr.udp.isValid()) {
            drop();
        } else if (zones.apply().hit) {
            if (meta.from_inside == 1) {
                locate(hdr.ipv4.src, meta.sport, hdr.ipv4.dst, meta.dport);
                if (hdr.udp.isValid() || (hdr.tcp.flags & 0x12) == 0x02) {
                    first.write(one, 1);
                    second.write(two, 1);
                }
                routes.apply();
            } else {
                locate(hdr.ipv4.dst, meta.dport, hdr.ipv4.src, meta.sport);
                first.read(known_first, one);
                second.read(known_second, two);
                if (known_first == 1 && known_second == 1) {
                    routes.apply();
                } else {
                    drop();
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
