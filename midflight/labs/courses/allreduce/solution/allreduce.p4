// A switch that adds up the vectors of workers.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_REDUCE = 0x88BA;
const bit<8> CONTRIBUTION = 1;
const bit<8> RESULT = 2;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header reduce_t {
    bit<8> kind;
    bit<8> slot;
    bit<16> round;
    bit<8> count;
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;
}

struct headers_t {
    ethernet_t ethernet;
    reduce_t reduce;
}

struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_REDUCE: reduce;
            default: accept;
        }
    }

    state reduce {
        packet.extract(hdr.reduce);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<8>>(64) counts;
    register<bit<32>>(64) sum0;
    register<bit<32>>(64) sum1;
    register<bit<32>>(64) sum2;
    register<bit<32>>(64) sum3;

    bit<8> needed = 0;
    bit<16> receivers = 0;

    action workers(bit<8> count, bit<16> group) {
        needed = count;
        receivers = group;
    }

    table setup {
        actions = {
            workers;
        }
        default_action = workers(1, 0);
    }

    apply {
        setup.apply();
        mark_to_drop(std);
        if (hdr.reduce.isValid() && hdr.reduce.kind == CONTRIBUTION && hdr.reduce.slot < 64) {
            bit<32> slot = (bit<32>)hdr.reduce.slot;
            bit<8> count;
            bit<32> s0;
            bit<32> s1;
            bit<32> s2;
            bit<32> s3;
            counts.read(count, slot);
            sum0.read(s0, slot);
            sum1.read(s1, slot);
            sum2.read(s2, slot);
            sum3.read(s3, slot);
            count = count + 1;
            s0 = s0 + hdr.reduce.v0;
            s1 = s1 + hdr.reduce.v1;
            s2 = s2 + hdr.reduce.v2;
            s3 = s3 + hdr.reduce.v3;
            if (count == needed) {
                hdr.reduce.kind = RESULT;
                hdr.reduce.count = count;
                hdr.reduce.v0 = s0;
                hdr.reduce.v1 = s1;
                hdr.reduce.v2 = s2;
                hdr.reduce.v3 = s3;
                std.mcast_grp = receivers;
                count = 0;
                s0 = 0;
                s1 = 0;
                s2 = 0;
                s3 = 0;
            }
            counts.write(slot, count);
            sum0.write(slot, s0);
            sum1.write(slot, s1);
            sum2.write(slot, s2);
            sum3.write(slot, s3);
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action host(bit<48> mac) {
        hdr.ethernet.dst = mac;
        hdr.ethernet.src = 0x020000000001;
    }

    table hosts {
        key = {
            std.egress_port: exact;
        }
        actions = {
            host;
            drop;
        }
        default_action = drop();
    }

    apply {
        hosts.apply();
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
