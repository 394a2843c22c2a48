// A switch that computes, and answers.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_CALC = 0x88B6;
const bit<16> MAGIC = 0x4D46;
const bit<8> VERSION = 1;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header calc_t {
    bit<16> magic;
    bit<8> version;
    bit<8> op;
    bit<8> status;
    bit<32> a;
    bit<32> b;
    bit<32> result;
}

struct headers_t {
    ethernet_t ethernet;
    calc_t calc;
}

struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_CALC: look;
            default: accept;
        }
    }

    state look {
        transition select(packet.lookahead<bit<24>>()) {
            MAGIC ++ VERSION: calc;
            default: accept;
        }
    }

    state calc {
        packet.extract(hdr.calc);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<32>>(1) computed;

    bit<32> count = 0;

    action drop() {
        mark_to_drop(std);
    }

    action answer(bit<8> status, bit<32> result) {
        hdr.calc.status = status;
        hdr.calc.result = result;
        bit<48> server = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = server;
        std.egress_spec = std.ingress_port;
    }

    apply {
        if (!hdr.calc.isValid() || hdr.calc.status != 0) {
            drop();
        } else if (hdr.calc.op < 1 || hdr.calc.op > 8) {
            answer(2, 0);
        } else {
            computed.read(count, 0);
            count = count + 1;
            computed.write(0, count);
            bit<32> a = hdr.calc.a;
            bit<32> b = hdr.calc.b;
            switch (hdr.calc.op) {
                1: { answer(1, a + b); }
                2: { answer(1, a |-| b); }
                3: { answer(1, a & b); }
                4: { answer(1, a | b); }
                5: { answer(1, a ^ b); }
                6: { answer(1, a > b ? a : b); }
                7: { answer(1, a << b); }
                8: { answer(1, count); }
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
