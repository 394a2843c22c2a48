// Priority queues with a limit for the highest class.
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

struct metadata_t {}

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
    counter(512, CounterType.packets) demoted;
    register<bit<48>>(512) windows;
    register<bit<16>>(512) counts;

    bit<16> most = 0;

    action drop() {
        mark_to_drop(std);
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action class(bit<3> priority) {
        std.priority = priority;
    }

    action limit(bit<16> packets) {
        most = packets;
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

    table classes {
        key = {
            hdr.ipv4.dscp: exact;
        }
        actions = {
            class;
        }
        default_action = class(0);
    }

    table policer {
        actions = {
            limit;
        }
        default_action = limit(4);
    }

    apply {
        if (!hdr.ipv4.isValid()) {
            drop();
        } else {
            routes.apply();
            classes.apply();
            policer.apply();
            if (std.priority == 2) {
                bit<32> port = (bit<32>)std.ingress_port;
                bit<48> window = std.ingress_global_timestamp >> 13;
                bit<48> last;
                bit<16> count;
                windows.read(last, port);
                counts.read(count, port);
                if (last != window) {
                    count = 0;
                }
                if (count < most) {
                    windows.write(port, window);
                    counts.write(port, count + 1);
                } else {
                    std.priority = 0;
                    hdr.ipv4.dscp = 0;
                    demoted.count(port);
                }
            }
        }
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
