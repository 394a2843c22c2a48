// CoDel (RFC 8289): drops packets so that the time in the queue returns to TARGET when it has exceeded it for INTERVAL.
// It acts in egress, when a packet leaves its queue. As P4 sees one packet at a time, it drops at most one for each packet
// that leaves; the packet that it drops has still taken its time at the queue's rate.
//
// State is kept for each egress port. A controller fills ingress.route.

const bit<48> TARGET = 5000; // microseconds
const bit<48> INTERVAL = 100000;

#include <core.p4>
#include <v1model.p4>

const bit<16> TYPE_IPV4 = 0x0800;

header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> type;
}

header ipv4_t {
    bit<4> version;
    bit<4> header_words;
    bit<6> dscp;
    bit<2> ecn;
    bit<16> length;
    bit<16> identification;
    bit<3> flags;
    bit<13> fragment;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> source;
    bit<32> destination;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
}

struct metadata_t {
    bit<32> count;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_IPV4: ipv4;
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
    action drop() {
        mark_to_drop(std);
    }

    action send(bit<9> port) {
        std.egress_spec = port;
    }

    table route {
        key = {
            hdr.ipv4.destination: lpm;
        }
        actions = {
            send;
            drop;
        }
        default_action = drop();
    }

    apply {
        if (hdr.ipv4.isValid()) {
            route.apply();
        } else {
            drop();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<48>>(512) first_above; // when the time in the queue will have been too long for INTERVAL; 0: it is not
    register<bit<48>>(512) drop_next; // when the next packet is dropped
    register<bit<32>>(512) counts; // drops of this episode
    register<bit<32>>(512) last_counts; // its value when the episode began
    register<bit<1>>(512) dropping; // whether there is an episode
    counter(512, CounterType.packets) dropped;

    bit<48> spacing = 0;

    action wait(bit<48> time) {
        spacing = time;
    }

    // INTERVAL / sqrt(count)
    table control_law {
        key = {
            meta.count: exact;
        }
        actions = {
            wait;
        }
        const default_action = wait(12500);
        const entries = {
            1: wait(100000);
            2: wait(70711);
            3: wait(57735);
            4: wait(50000);
            5: wait(44721);
            6: wait(40825);
            7: wait(37796);
            8: wait(35355);
            9: wait(33333);
            10: wait(31623);
            11: wait(30151);
            12: wait(28868);
            13: wait(27735);
            14: wait(26726);
            15: wait(25820);
            16: wait(25000);
            17: wait(24254);
            18: wait(23570);
            19: wait(22942);
            20: wait(22361);
            21: wait(21822);
            22: wait(21320);
            23: wait(20851);
            24: wait(20412);
            25: wait(20000);
            26: wait(19612);
            27: wait(19245);
            28: wait(18898);
            29: wait(18570);
            30: wait(18257);
            31: wait(17961);
            32: wait(17678);
            33: wait(17408);
            34: wait(17150);
            35: wait(16903);
            36: wait(16667);
            37: wait(16440);
            38: wait(16222);
            39: wait(16013);
            40: wait(15811);
            41: wait(15617);
            42: wait(15430);
            43: wait(15250);
            44: wait(15076);
            45: wait(14907);
            46: wait(14744);
            47: wait(14586);
            48: wait(14434);
            49: wait(14286);
            50: wait(14142);
            51: wait(14003);
            52: wait(13868);
            53: wait(13736);
            54: wait(13608);
            55: wait(13484);
            56: wait(13363);
            57: wait(13245);
            58: wait(13131);
            59: wait(13019);
            60: wait(12910);
            61: wait(12804);
            62: wait(12700);
            63: wait(12599);
            64: wait(12500);
        }
    }

    apply {
        bit<32> port = (bit<32>)std.egress_port;
        bit<48> now = std.egress_global_timestamp;
        bit<48> above;
        bit<48> next;
        bit<32> count;
        bit<32> last;
        bit<1> active;
        first_above.read(above, port);
        drop_next.read(next, port);
        counts.read(count, port);
        last_counts.read(last, port);
        dropping.read(active, port);

        bool late = false;
        if ((bit<48>)std.deq_timedelta < TARGET || std.deq_qdepth == 0) {
            above = 0;
        } else if (above == 0) {
            above = now + INTERVAL;
        } else {
            late = now >= above;
        }

        bool drop = false;
        bit<48> start = now; // of the time until the next drop
        if (active == 1) {
            if (!late) {
                active = 0;
            } else if (now >= next) {
                drop = true;
                count = count + 1;
                start = next;
            }
        } else if (late) {
            drop = true;
            active = 1;
            // An episode soon after another one continues at its rate.
            bit<32> more = count - last;
            if (more > 1 && (next > now || now - next < 16 * INTERVAL)) {
                count = more;
            } else {
                count = 1;
            }
            last = count;
        }
        if (drop) {
            meta.count = count;
            control_law.apply();
            next = start + spacing;
        }

        first_above.write(port, above);
        drop_next.write(port, next);
        counts.write(port, count);
        last_counts.write(port, last);
        dropping.write(port, active);
        if (drop) {
            dropped.count(port);
            mark_to_drop(std);
        }
    }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
