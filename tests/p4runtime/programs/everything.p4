#include <core.p4>
#include <v1model.p4>

#define CPU_PORT 510

@controller_header("packet_in")
header packet_in_t {
    bit<16> ingress_port;
}

@controller_header("packet_out")
header packet_out_t {
    bit<16> egress_port;
}

header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> kind;
}

header ipv4_t {
    bit<4>  version;
    bit<4>  ihl;
    bit<8>  diffserv;
    bit<16> total_length;
    bit<16> identification;
    bit<3>  flags;
    bit<13> fragment_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> source;
    bit<32> destination;
}

struct headers_t {
    packet_in_t  packet_in;
    packet_out_t packet_out;
    ethernet_t   ethernet;
    ipv4_t       ipv4;
}

struct metadata_t {
    bit<8> class;
}

struct seen_t {
    bit<32> source;
    bit<8>  ttl;
}

parser the_parser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: from_controller;
            default: ethernet;
        }
    }
    state from_controller {
        packet.extract(hdr.packet_out);
        transition ethernet;
    }
    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.kind) {
            0x0800: ipv4;
            default: accept;
        }
    }
    state ipv4 {
        packet.extract(hdr.ipv4);
        transition accept;
    }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    register<bit<32>>(16) totals;
    register<bit<128>>(2) wide;
    register<int<16>>(4) levels;
    counter(8, CounterType.packets_and_bytes) arrivals;
    direct_counter(CounterType.packets) routed;
    meter(4, MeterType.packets) police;

    action drop() {
        mark_to_drop(standard_metadata);
    }
    @brief("Send out of a port")
    action to_port(bit<9> port, bit<48> mac) {
        standard_metadata.egress_spec = port;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }
    action to_group(bit<16> group) {
        standard_metadata.mcast_grp = group;
    }
    action to_controller() {
        standard_metadata.egress_spec = CPU_PORT;
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = (bit<16>) standard_metadata.ingress_port;
    }
    action classify(bit<8> class) {
        meta.class = class;
    }
    table route {
        key = { hdr.ipv4.destination: lpm; }
        actions = { to_port; to_group; to_controller; @defaultonly drop; @tableonly NoAction; }
        default_action = drop();
        counters = routed;
        size = 64;
    }
    table acl {
        key = {
            hdr.ipv4.source: ternary;
            hdr.ipv4.protocol: optional;
            hdr.ipv4.total_length: range @name("length");
            standard_metadata.ingress_port: exact;
        }
        actions = { classify; drop; NoAction; }
        default_action = NoAction();
        size = 4;
    }
    table fixed {
        key = { hdr.ipv4.ttl: exact; }
        actions = { classify; NoAction; }
        const default_action = NoAction();
        const entries = {
            0: classify(1);
            1: classify(2);
        }
    }
    apply {
        arrivals.count((bit<32>) standard_metadata.ingress_port);
        if (hdr.packet_out.isValid()) {
            standard_metadata.egress_spec = (bit<9>) hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else if (hdr.ipv4.isValid()) {
            fixed.apply();
            acl.apply();
            bit<32> total;
            totals.read(total, (bit<32>) meta.class);
            totals.write((bit<32>) meta.class, total + (bit<32>) hdr.ipv4.total_length);
            digest<seen_t>(1, { hdr.ipv4.source, hdr.ipv4.ttl });
            route.apply();
        } else {
            to_controller();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply { }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control the_deparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
    }
}

V1Switch(the_parser(), verify_checksums(), ingress(), egress(), compute_checksums(), the_deparser()) main;
