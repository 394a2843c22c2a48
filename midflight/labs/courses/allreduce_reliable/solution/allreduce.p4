// All-reduce that survives loss.
#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_REDUCE = 0x88BB;
const bit<8> CONTRIBUTION = 1;
const bit<8> RESULT = 2;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header reduce_t {
    bit<8> kind;
    bit<8> worker;
    bit<8> copy;
    bit<8> slot;
    bit<16> round;
    bit<32> v0;
    bit<32> v1;
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
    register<bit<16>>(64) seen;
    register<bit<8>>(64) counts;
    register<bit<32>>(64) sum0;
    register<bit<32>>(64) sum1;

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

    action result(bit<32> s0, bit<32> s1) {
        hdr.reduce.kind = RESULT;
        hdr.reduce.v0 = s0;
        hdr.reduce.v1 = s1;
        hdr.ethernet.src = 0x020000000001;
        hdr.ethernet.dst = 0xffffffffffff;
    }

    apply {
        setup.apply();
        mark_to_drop(std);
        if (hdr.reduce.isValid() && hdr.reduce.kind == CONTRIBUTION && hdr.reduce.worker < needed
            && hdr.reduce.copy < 2 && hdr.reduce.slot < 32) {
            bit<32> index = (bit<32>)(hdr.reduce.copy[0:0] ++ hdr.reduce.slot[4:0]);
            bit<16> mine = 16w1 << hdr.reduce.worker[3:0];
            bit<16> bits;
            bit<8> count;
            bit<32> s0;
            bit<32> s1;
            seen.read(bits, index);
            counts.read(count, index);
            sum0.read(s0, index);
            sum1.read(s1, index);
            if (bits & mine == 0) {
                bit<16> other;
                seen.write(index, bits | mine);
                seen.read(other, index ^ 32);
                seen.write(index ^ 32, other & ~mine);
                if (count == 0) {
                    s0 = 0;
                    s1 = 0;
                }
                s0 = s0 + hdr.reduce.v0;
                s1 = s1 + hdr.reduce.v1;
                sum0.write(index, s0);
                sum1.write(index, s1);
                count = count + 1;
                if (count == needed) {
                    count = 0;
                    result(s0, s1);
                    std.mcast_grp = receivers;
                }
                counts.write(index, count);
            } else if (count == 0) {
                result(s0, s1);
                std.egress_spec = std.ingress_port;
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
