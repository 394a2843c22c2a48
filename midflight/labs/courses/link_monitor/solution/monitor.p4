// A switch whose counters travel with probes.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_IPV4 = 0x0800;
const bit<16> TYPE_PROBE = 0x88B9;

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

header probe_t {
    bit<8> target;
    bit<8> count;
}

header record_t {
    bit<16> switch_;
    bit<16> port;
    bit<32> packets;
    bit<32> bytes;
    bit<32> elapsed;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    probe_t probe;
    record_t[8] records;
}

struct metadata_t {
    bit<8> left;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_IPV4: ipv4;
            TYPE_PROBE: probe;
            default: accept;
        }
    }

    state ipv4 {
        packet.extract(hdr.ipv4);
        transition accept;
    }

    state probe {
        packet.extract(hdr.probe);
        meta.left = hdr.probe.count;
        transition select(meta.left) {
            0: accept;
            default: record;
        }
    }

    state record {
        packet.extract(hdr.records.next);
        meta.left = meta.left - 1;
        transition select(meta.left) {
            0: accept;
            default: record;
        }
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

    action toward(bit<9> port) {
        std.egress_spec = port;
    }

    table probes {
        key = {
            hdr.probe.target: exact;
        }
        actions = {
            toward;
            drop;
        }
        default_action = drop();
    }

    apply {
        if (hdr.ipv4.isValid()) {
            routes.apply();
        } else if (hdr.probe.isValid()) {
            probes.apply();
        } else {
            drop();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<32>>(512) packets;
    register<bit<32>>(512) bytes;
    register<bit<48>>(512) times;

    bit<16> number = 0;

    action name(bit<16> switch_) {
        number = switch_;
    }

    table identity {
        actions = {
            name;
        }
        default_action = name(0);
    }

    apply {
        identity.apply();
        bit<32> port = (bit<32>)std.egress_port;
        bit<32> some;
        bit<32> octets;
        bit<48> last;
        if (hdr.ipv4.isValid()) {
            packets.read(some, port);
            packets.write(port, some + 1);
            bytes.read(octets, port);
            bytes.write(port, octets + std.packet_length);
        } else if (hdr.probe.isValid() && hdr.probe.count < 8) {
            packets.read(some, port);
            packets.write(port, 0);
            bytes.read(octets, port);
            bytes.write(port, 0);
            times.read(last, port);
            times.write(port, std.ingress_global_timestamp);
            hdr.records.push_front(1);
            hdr.records[0].setValid();
            hdr.records[0].switch_ = number;
            hdr.records[0].port = (bit<16>)std.egress_port;
            hdr.records[0].packets = some;
            hdr.records[0].bytes = octets;
            hdr.records[0].elapsed = (bit<32>)(std.ingress_global_timestamp - last);
            hdr.probe.count = hdr.probe.count + 1;
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
