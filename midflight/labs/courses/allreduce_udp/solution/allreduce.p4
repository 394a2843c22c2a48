// All-reduce for hosts with UDP sockets.
#include <core.p4>
#include <v1model.p4>

const bit<16> WORKERS = 6001;
const bit<16> SWITCH = 6000;
const bit<16> MAGIC = 0x4152;
const bit<16> LENGTH = 8 + 35;

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

header udp_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
}

header reduce_t {
    bit<16> magic;
    bit<8> slot;
    bit<32> v0;
    bit<32> v1;
    bit<32> v2;
    bit<32> v3;
    bit<32> v4;
    bit<32> v5;
    bit<32> v6;
    bit<32> v7;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    udp_t udp;
    reduce_t reduce;
}

struct metadata_t {
    bit<1> is_result;
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
        transition select(hdr.ipv4.ihl, hdr.ipv4.protocol, hdr.ipv4.flags[0:0], hdr.ipv4.fragment) {
            (5, 17, 0, 0): udp;
            default: accept;
        }
    }

    state udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.dport, hdr.udp.length) {
            (SWITCH, LENGTH): reduce;
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
    register<bit<8>>(32) counts;
    register<bit<32>>(32) sum0;
    register<bit<32>>(32) sum1;
    register<bit<32>>(32) sum2;
    register<bit<32>>(32) sum3;
    register<bit<32>>(32) sum4;
    register<bit<32>>(32) sum5;
    register<bit<32>>(32) sum6;
    register<bit<32>>(32) sum7;

    bit<8> needed = 0;
    bit<16> receivers = 0;
    bit<32> me = 0;

    action drop() {
        mark_to_drop(std);
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    action workers(bit<8> count, bit<16> group, bit<32> address) {
        needed = count;
        receivers = group;
        me = address;
    }

    table setup {
        actions = {
            workers;
        }
        default_action = workers(1, 0, 0);
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

    apply {
        setup.apply();
        if (!hdr.ipv4.isValid()) {
            drop();
        } else if (hdr.ipv4.dst != me) {
            routes.apply();
        } else {
            drop();
            if (hdr.reduce.isValid() && hdr.reduce.magic == MAGIC && hdr.reduce.slot < 32) {
                bit<32> slot = (bit<32>)hdr.reduce.slot;
                bit<8> count;
                counts.read(count, slot);
                count = count + 1;
                bit<32> sum;
                sum0.read(sum, slot);
                hdr.reduce.v0 = hdr.reduce.v0 + sum;
                sum1.read(sum, slot);
                hdr.reduce.v1 = hdr.reduce.v1 + sum;
                sum2.read(sum, slot);
                hdr.reduce.v2 = hdr.reduce.v2 + sum;
                sum3.read(sum, slot);
                hdr.reduce.v3 = hdr.reduce.v3 + sum;
                sum4.read(sum, slot);
                hdr.reduce.v4 = hdr.reduce.v4 + sum;
                sum5.read(sum, slot);
                hdr.reduce.v5 = hdr.reduce.v5 + sum;
                sum6.read(sum, slot);
                hdr.reduce.v6 = hdr.reduce.v6 + sum;
                sum7.read(sum, slot);
                hdr.reduce.v7 = hdr.reduce.v7 + sum;
                if (count == needed) {
                    std.mcast_grp = receivers;
                    meta.is_result = 1;
                    hdr.ipv4.src = me;
                    hdr.ipv4.ttl = 64;
                    hdr.udp.sport = SWITCH;
                    hdr.udp.dport = WORKERS;
                    hdr.udp.checksum = 0;
                    counts.write(slot, 0);
                    sum0.write(slot, 0);
                    sum1.write(slot, 0);
                    sum2.write(slot, 0);
                    sum3.write(slot, 0);
                    sum4.write(slot, 0);
                    sum5.write(slot, 0);
                    sum6.write(slot, 0);
                    sum7.write(slot, 0);
                } else {
                    counts.write(slot, count);
                    sum0.write(slot, hdr.reduce.v0);
                    sum1.write(slot, hdr.reduce.v1);
                    sum2.write(slot, hdr.reduce.v2);
                    sum3.write(slot, hdr.reduce.v3);
                    sum4.write(slot, hdr.reduce.v4);
                    sum5.write(slot, hdr.reduce.v5);
                    sum6.write(slot, hdr.reduce.v6);
                    sum7.write(slot, hdr.reduce.v7);
                }
            }
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action drop() {
        mark_to_drop(std);
    }

    action host(bit<48> mac, bit<32> ip) {
        hdr.ethernet.dst = mac;
        hdr.ethernet.src = 0x020000000001;
        hdr.ipv4.dst = ip;
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
        if (meta.is_result == 1) {
            hosts.apply();
        }
    }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(
            meta.is_result == 1,
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
