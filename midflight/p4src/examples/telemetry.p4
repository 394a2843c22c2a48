// Telemetry in the packet, in the manner of INT-MD: every switch on the way adds a record of when the packet came and
// left and what it found in its queue. A sender asks for it with Ethernet type 0x88B5 (for experiments, IEEE 802) and a
// count of 0; the last switch may leave the records to the receiver.
//
// A controller sets the number of the switch with the default action of egress.identity, and fills ingress.forward.

#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_TELEMETRY = 0x88B5;
const bit<8> MOST = 8;

header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> type;
}

header telemetry_t {
    bit<8> count; // of records
    bit<16> type; // of what follows them
}

header record_t {
    bit<32> number; // of the switch
    bit<16> ingress_port;
    bit<16> egress_port;
    bit<48> came; // microseconds
    bit<48> left;
    bit<24> depth; // packets in the queue when it joined
    bit<32> waited; // microseconds in the queue
}

struct headers_t {
    ethernet_t ethernet;
    telemetry_t telemetry;
    record_t[8] records;
}

struct metadata_t {
    bit<8> left;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_TELEMETRY: telemetry;
            default: accept;
        }
    }

    state telemetry {
        packet.extract(hdr.telemetry);
        meta.left = hdr.telemetry.count;
        transition more;
    }

    state more {
        transition select(meta.left) {
            0: accept;
            default: record;
        }
    }

    state record {
        packet.extract(hdr.records.next);
        meta.left = meta.left - 1;
        transition more;
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

    table forward {
        key = {
            hdr.ethernet.destination: exact;
        }
        actions = {
            send;
            drop;
        }
        default_action = drop();
    }

    apply {
        forward.apply();
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    bit<32> own = 0;

    action is(bit<32> number) {
        own = number;
    }

    table identity {
        actions = {
            is;
        }
        default_action = is(0);
    }

    apply {
        if (hdr.telemetry.isValid() && hdr.telemetry.count < MOST) {
            identity.apply();
            hdr.telemetry.count = hdr.telemetry.count + 1;
            hdr.records.push_front(1); // the latest first
            hdr.records[0].setValid();
            hdr.records[0].number = own;
            hdr.records[0].ingress_port = (bit<16>)std.ingress_port;
            hdr.records[0].egress_port = (bit<16>)std.egress_port;
            hdr.records[0].came = std.ingress_global_timestamp;
            hdr.records[0].left = std.egress_global_timestamp;
            hdr.records[0].depth = (bit<24>)std.enq_qdepth;
            hdr.records[0].waited = std.deq_timedelta;
        }
    }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.telemetry);
        packet.emit(hdr.records);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
