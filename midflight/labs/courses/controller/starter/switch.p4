// A switch that asks its controller about sources that it does not know.
#include <core.p4>
#include <v1model.p4>

const bit<9> CPU = 510;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reserved;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> port;
    bit<1> flood;
    bit<6> reserved;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
}

struct metadata_t {
    bit<9> without;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        meta.without = std.ingress_port;
        transition select(std.ingress_port) {
            CPU: from_controller;
            default: ethernet;
        }
    }

    state from_controller {
        packet.extract(hdr.packet_out);
        transition ethernet;
    }

    state ethernet {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action ask() {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = std.ingress_port;
        hdr.packet_in.reserved = 0;
        std.egress_spec = CPU;
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action flood() {
        std.mcast_grp = 1;
    }

    table known {
        key = {
            hdr.ethernet.src: exact;
            std.ingress_port: exact;
        }
        actions = {
            NoAction;
            ask;
        }
        default_action = ask();
    }

    table forward {
        key = {
            hdr.ethernet.dst: exact;
        }
        actions = {
            send;
            flood;
        }
        default_action = flood();
    }

    apply {
        if (hdr.packet_out.isValid()) {
            if (hdr.packet_out.flood == 1) {
                meta.without = hdr.packet_out.port;
                flood();
            } else {
                send(hdr.packet_out.port);
            }
            hdr.packet_out.setInvalid();
        } else if (known.apply().hit) {
            forward.apply();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.egress_port == meta.without) {
            mark_to_drop(std);
        }
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
