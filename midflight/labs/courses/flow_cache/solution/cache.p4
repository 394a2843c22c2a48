// A switch that asks its controller about each new flow.
#include <core.p4>
#include <v1model.p4>

const bit<9> CPU = 510;

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

header ports_t {
    bit<16> sport;
    bit<16> dport;
}

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<1> checked;
    bit<6> reserved;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ports_t ports;
}

struct metadata_t {
    bit<9> arrived;
    bit<16> sport;
    bit<16> dport;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        meta.arrived = std.ingress_port;
        meta.sport = 0;
        meta.dport = 0;
        transition select(std.ingress_port) {
            CPU: from_controller;
            default: ethernet;
        }
    }

    state from_controller {
        packet.extract(hdr.packet_out);
        meta.arrived = hdr.packet_out.egress_port;
        transition ethernet;
    }

    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x0800: ipv4;
            default: accept;
        }
    }

    state ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.protocol) {
            6: ports;
            17: ports;
            default: accept;
        }
    }

    state ports {
        packet.extract(hdr.ports);
        meta.sport = hdr.ports.sport;
        meta.dport = hdr.ports.dport;
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) used;

    action deny() {
        mark_to_drop(std);
    }

    action pass(bit<9> port) {
        std.egress_spec = port;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }

    action ask(bit<7> reason) {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = meta.arrived;
        hdr.packet_in.reason = reason;
        std.egress_spec = CPU;
    }

    table flows {
        key = {
            hdr.ipv4.src: exact;
            hdr.ipv4.dst: exact;
            hdr.ipv4.protocol: exact;
            meta.sport: exact;
            meta.dport: exact;
        }
        actions = {
            pass;
            deny;
            ask;
        }
        default_action = ask(1);
        counters = used;
    }

    apply {
        if (hdr.packet_out.isValid() && hdr.packet_out.checked == 1) {
            std.egress_spec = hdr.packet_out.egress_port;
        } else if (!hdr.ipv4.isValid()) {
            deny();
        } else if (hdr.ipv4.ttl < 2) {
            ask(2);
        } else {
            flows.apply();
        }
        hdr.packet_out.setInvalid();
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {}
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
