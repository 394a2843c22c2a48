// Seen on one switch: P4_16 for Tofino (tna).
// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.

#include <core.p4>
#include <tna.p4>

const PortId_t CPU_PORT = 192;          // packets from and to the controller
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_IPV6 = 0x86DD;
const bit<8> PROTOCOL_UDP = 17;
const bit<96> IPV4_IN_IPV6 = 0x0064_FF9B_0001_0000_0000_0000;  // 64:ff9b:1::/96, of RFC 8215
const bit<16> MIDFLIGHT_PORT = 19782;  // 0x4D46, "MF"
const bit<8> VERSION = 2;
const bit<8> REQUEST = 1;              // to be computed on
const bit<8> RESULT = 2;               // only forwarded
const bit<8> RESULT_FOR_ALL = 3;       // from the switch above: goes to all members
const bit<8> RED = 3;                  // a meter's color for what exceeds its rate

// Why a request is not computed on: the indexes of `refused`.
const bit<2> NOT_ADMITTED = 0;         // no application like that is admitted on the port
const bit<2> WRONG_TOKEN = 1;          // its token is not the application's
const bit<2> NO_MEMBER = 2;            // no member sends by that port, from that address, with that number
const bit<2> TOO_FAST = 3;             // it exceeds the application's rate on the port
const bit<8> BRIDGED = 1;              // the first byte of what comes from ingress to egress

// The applications' ids in the common header.
const bit<16> SEEN_ID = 1;

// What a kernel decides about its packet. The ingress control acts on it afterwards.
const bit<2> FORWARD = 0;
const bit<2> DROP = 1;
const bit<2> REPLY = 2;      // back to the sender, as a result
const bit<2> MULTICAST = 3;  // to all members of the application, as a result

header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> ether_type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> tos;
    bit<16> length;
    bit<16> identification;
    bit<1> reserved;
    bit<1> dont_fragment;
    bit<1> more_fragments;
    bit<13> fragment_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> source;
    bit<32> destination;
}

header ipv6_t {
    bit<4> version;
    bit<8> traffic_class;
    bit<20> flow_label;
    bit<16> length;  // of what follows
    bit<8> next_header;
    bit<8> hop_limit;
    bit<128> source;
    bit<128> destination;
}

header udp_t {
    bit<16> source;
    bit<16> destination;
    bit<16> length;
    bit<16> checksum;
}

// Common to all applications. Says which one's header follows.
header midflight_t {
    bit<8> version;
    bit<8> kind;
    bit<16> application;
    bit<32> sequence;
    bit<64> token;  // known to the application's members and switches only
}

// In front of a packet that the switch hands to the controller.
@controller_header("packet_in")
header packet_in_t {
    bit<16> ingress_port;
}

// In front of a packet that the controller has the switch send.
@controller_header("packet_out")
header packet_out_t {
    bit<16> egress_port;
}

// What ingress tells egress about a packet, in front of it.
header bridge_t {
    bit<8> origin;
    bit<8> verdict;
    bit<7> reserved;
    bit<9> ingress_port;
}

// What seen sends. Bloom: Insert items into a set, and answer whether an item is in it.
header seen_t {
    bit<8> operation;
    bit<8> flags;
    bit<64> item;
}

struct headers_t {
    bridge_t bridge;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
    seen_t seen;
}

struct metadata_t {
    bool malformed;       // cut short, or of another version
    bool checksum_error;  // of the IPv4 header
    bool admitted;        // the packet is computed on here
    bool refused;         // it is not, for `reason`
    bit<2> reason;
    bool unroutable;      // there is no way for it
    bit<8> colour;        // of its rate
    bit<16> group;        // the multicast group of its members
    bit<16> epoch;        // the life that the switch's state is in
    bit<64> token;        // its token XOR what it should be
    bit<1> bound;         // whether only members may send them
    bit<128> sender;      // the address that the packet comes from
    bit<16> member;       // the number of the member that it names
    bit<16> job;          // the number of its job
    bool summed;          // its UDP header has a checksum
    bit<16> rest;         // of the UDP checksum: what it is without what may change
    bit<2> verdict;       // what the kernel decided
}

struct egress_headers_t {
    packet_in_t packet_in;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
}

struct egress_metadata_t {
    bit<2> verdict;        // what the kernel decided
    bit<9> ingress_port;   // that the packet came by
    bit<32> address;       // of the member that a copy is for, or
    bit<128> address_ipv6;
    bool summed;           // its UDP header has a checksum
    bit<16> rest;          // of the UDP checksum: what it is without what may change
}

parser ingress_parse(packet_in packet, out headers_t hdr, out metadata_t meta,
                     out ingress_intrinsic_metadata_t ig_intr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

    state start {
        packet.extract(ig_intr_md);
        packet.advance(PORT_METADATA_SIZE);
        meta.malformed = false;
        meta.checksum_error = false;
        meta.admitted = false;
        meta.refused = false;
        meta.reason = NOT_ADMITTED;
        meta.unroutable = false;
        meta.member = 0;
        meta.job = 0;
        meta.summed = false;
        meta.rest = 0;
        transition select(ig_intr_md.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }

    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default: accept;
        }
    }

    // Packets with options and fragments are not computed on: what follows is not, or not surely, a UDP header.
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        ipv4_checksum.add(hdr.ipv4);
        meta.checksum_error = ipv4_checksum.verify();
        udp_checksum.subtract({ hdr.ipv4.source, hdr.ipv4.destination });
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    // Nor are those with extension headers.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        udp_checksum.subtract({ hdr.ipv6.source, hdr.ipv6.destination });
        transition select(hdr.ipv6.version, hdr.ipv6.next_header) {
            (6, PROTOCOL_UDP): parse_udp;
            (6, _): accept;
            default: parse_malformed;
        }
    }

    state parse_malformed {
        meta.malformed = true;
        transition accept;
    }

    // A UDP checksum is updated by what changes. What stays, such as the payload, is not summed up again.
    state parse_udp {
        packet.extract(hdr.udp);
        udp_checksum.subtract({ hdr.udp.source, hdr.udp.destination, hdr.udp.checksum });
        udp_checksum.subtract_all_and_deposit(meta.rest);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            default: accept;
        }
    }

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, REQUEST, SEEN_ID): parse_seen;
            default: accept;
        }
    }

    state parse_seen {
        packet.extract(hdr.seen);
        transition accept;
    }
}

// The kernel of seen: Bloom.ingress in bloom.py, with rows=2, columns=1024, capacity=1024, item_bits=64.
// Insert items into a set, and answer whether an item is in it.
// Its longest chain of operations that depend on each other takes 11 stages.
control seen_kernel(inout headers_t hdr, inout metadata_t meta) {
    bool known;
    bit<32> column;
    bit<1> before;
    bool member;
    bit<32> items_value;
    bit<1> before_1;
    bit<32> column_1;
    bit<32> hash_value;
    bit<32> hash_2;
    bit<8> chosen;
    bit<8> chosen_2;
    bit<32> larger;
    bit<8> part;

    Register<bit<1>, bit<10>>(1024, 0) bits_0;
    RegisterAction<bit<1>, bit<10>, bit<1>>(bits_0) bits_0_set = {
        void apply(inout bit<1> stored, out bit<1> result) {
            result = stored;
            stored = 1;
        }
    };
    RegisterAction<bit<1>, bit<10>, bit<1>>(bits_0) bits_0_read = {
        void apply(inout bit<1> stored, out bit<1> result) {
            result = stored;
        }
    };

    Register<bit<1>, bit<10>>(1024, 0) bits_1;
    RegisterAction<bit<1>, bit<10>, bit<1>>(bits_1) bits_1_set = {
        void apply(inout bit<1> stored, out bit<1> result) {
            result = stored;
            stored = 1;
        }
    };
    RegisterAction<bit<1>, bit<10>, bit<1>>(bits_1) bits_1_read = {
        void apply(inout bit<1> stored, out bit<1> result) {
            result = stored;
        }
    };

    Register<bit<32>, bit<1>>(1, 0) items;
    RegisterAction<bit<32>, bit<1>, bit<32>>(items) items_add = {
        void apply(inout bit<32> stored, out bit<32> result) {
            stored = stored |+| 1;
            result = stored;
        }
    };
    RegisterAction<bit<32>, bit<1>, bit<32>>(items) items_read = {
        void apply(inout bit<32> stored, out bit<32> result) {
            result = stored;
        }
    };

    Hash<bit<32>>(HashAlgorithm_t.CRC32) hash_0_of;

    CRCPolynomial<bit<32>>(32w0x1edc6f41, true, false, false, 32w0xFFFFFFFF, 32w0xFFFFFFFF) hash_1_polynomial;
    Hash<bit<32>>(HashAlgorithm_t.CUSTOM, hash_1_polynomial) hash_1_of;

    action compute_larger() {
        larger = max(items_value, 1024);
    }

    action compute_part() {
        part = chosen_2 << 1;
    }

    action compute_flags() {
        hdr.seen.flags = chosen | part;
    }

    action compute_hash_value() {
        hash_value = hash_0_of.get({ hdr.seen.item });
    }

    action compute_hash_2() {
        hash_2 = hash_1_of.get({ hdr.seen.item });
    }

    apply {
        if (hdr.seen.operation[7:1] != 0) {
            meta.verdict = DROP;
            return;
        }
        known = true;
        // row 0
        compute_hash_value();
        compute_hash_2();
        column = (bit<32>)hash_value[9:0];
        if (hdr.seen.operation == 1) {
            // before = bits[row].update(column, lambda old: 1 if new else old)
            before = bits_0_set.execute(column[9:0]);
        } else {
            before = bits_0_read.execute(column[9:0]);
        }
        if (known && before == 1) {
            known = true;
        } else {
            known = false;
        }
        // row 1
        column_1 = (bit<32>)hash_2[9:0];
        if (hdr.seen.operation == 1) {
            before_1 = bits_1_set.execute(column_1[9:0]);
        } else {
            before_1 = bits_1_read.execute(column_1[9:0]);
        }
        if (known && before_1 == 1) {
            known = true;
        } else {
            known = false;
        }
        member = known;
        if (hdr.seen.operation == 1 && !member) {
            // items = self.items.update_fetch(0, lambda old: sat_add(old, 1) if inserting and not member else old)
            items_value = items_add.execute(1w0);
        } else {
            items_value = items_read.execute(1w0);
        }
        if (member) {
            chosen = 1;
        } else {
            chosen = 0;
        }
        compute_larger();
        if (larger != 1024) {
            chosen_2 = 1;
        } else {
            chosen_2 = 0;
        }
        compute_part();
        compute_flags();
        meta.verdict = REPLY;
    }
}

control ingress(inout headers_t hdr, inout metadata_t meta, in ingress_intrinsic_metadata_t ig_intr_md,
                in ingress_intrinsic_metadata_from_parser_t ig_prsr_md,
                inout ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md,
                inout ingress_intrinsic_metadata_for_tm_t ig_tm_md) {
    // Malformed packets are counted and dropped: cut short, of another version, or with a wrong checksum.
    Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) malformed;
    // Packets for which there is no way.
    Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) unroutable;

    action drop() {
        ig_dprsr_md.drop_ctl = 1;
    }

    action unreachable() {
        meta.unroutable = true;
        ig_dprsr_md.drop_ctl = 1;
    }

    // Of the two IP headers a packet has one. They share containers, so an action writes only one of them.
    action to_port(PortId_t port, bit<48> mac) {
        ig_tm_md.ucast_egress_port = port;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }

    action to_port_ipv6(PortId_t port, bit<48> mac) {
        ig_tm_md.ucast_egress_port = port;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv6.hop_limit = hdr.ipv6.hop_limit - 1;
    }

    table route {
        key = {
            hdr.ipv4.destination: lpm;
        }
        actions = {
            to_port;
            unreachable;
        }
        default_action = unreachable();
        size = 4096;
    }

    table route_ipv6 {
        key = {
            hdr.ipv6.destination: lpm;
        }
        actions = {
            to_port_ipv6;
            unreachable;
        }
        default_action = unreachable();
        size = 4096;
    }

    // What is computed on, by application and port.
    DirectCounter<bit<64>>(CounterType_t.PACKETS_AND_BYTES) admitted;
    // How much of it: what comes faster passes by.
    DirectMeter(MeterType_t.PACKETS) admitted_rate;

    action admit(bit<16> group, bit<16> epoch, bit<64> token, bit<1> bound) {
        meta.group = group;
        meta.epoch = epoch;
        meta.token = hdr.midflight.token ^ token;
        meta.bound = bound;
        admitted.count();
        meta.colour = admitted_rate.execute();
    }

    action refuse() {
        meta.refused = true;
    }

    // The applications that compute here, and the ports that their requests come by: the multicast group of their members,
    // the epoch, which the controller raises when the switch has lost its state, and the token that their packets carry.
    // With `bound`, only what is in `membership` is computed on. Other requests are forwarded.
    table admission {
        key = {
            hdr.midflight.application: exact;
            ig_intr_md.ingress_port: ternary;
        }
        actions = {
            admit;
            @defaultonly refuse;
        }
        const default_action = refuse();
        counters = admitted;
        meters = admitted_rate;
        size = 4096;
    }

    action no_member() {
        meta.refused = true;
        meta.reason = NO_MEMBER;
        meta.admitted = false;
    }

    // Who sends what by which port: the member's address, and the numbers of member and job that its requests carry.
    table membership {
        key = {
            hdr.midflight.application: exact;
            hdr.midflight.kind: exact;
            ig_intr_md.ingress_port: exact;
            meta.sender: exact;
            meta.member: exact;
            meta.job: exact;
        }
        actions = {
            NoAction;
            @defaultonly no_member;
        }
        const default_action = no_member();
        size = 4096;
    }

    // Requests that are not computed on, but forwarded.
    Counter<bit<32>, bit<2>>(4, CounterType_t.PACKETS) refused;

    // Turn the packet around: what is its destination becomes its source.
    action reply() {
        bit<48> mac = hdr.ethernet.source;
        bit<16> udp_port = hdr.udp.source;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.udp.source = hdr.udp.destination;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
        ig_tm_md.ucast_egress_port = ig_intr_md.ingress_port;
    }

    action reply_ipv4() {
        bit<32> address = hdr.ipv4.source;
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.destination = address;
        hdr.ipv4.ttl = 64;
    }

    action reply_ipv6() {
        bit<128> address = hdr.ipv6.source;
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.destination = address;
        hdr.ipv6.hop_limit = 64;
    }

    // The copies get their destinations in egress. They come from the address that the request was sent to.
    action multicast() {
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.udp.source = MIDFLIGHT_PORT;
        hdr.midflight.kind = RESULT;
        ig_tm_md.mcast_grp_a = meta.group;
    }

    action multicast_ipv4() {
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.ttl = 64;
    }

    action multicast_ipv6() {
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.hop_limit = 64;
    }

    // Packets that applications drop, by their place in the program.
    Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) dropped;

    action bridge() {
        hdr.bridge.setValid();
        hdr.bridge.origin = BRIDGED;
        hdr.bridge.verdict = (bit<8>)meta.verdict;
        hdr.bridge.reserved = 0;
        hdr.bridge.ingress_port = ig_intr_md.ingress_port;
    }

    seen_kernel() seen;

    apply {
        meta.verdict = FORWARD;
        if (hdr.packet_out.isValid()) {
            // From the controller: sent as it is.
            ig_tm_md.ucast_egress_port = (PortId_t)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            bridge();
        } else if (ig_prsr_md.parser_err != PARSER_ERROR_OK || meta.malformed
                || (meta.checksum_error && hdr.ipv4.ihl == 5)
                || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)) {
            malformed.count(0);
            drop();
        } else {
            if (hdr.midflight.isValid() && (hdr.midflight.kind == REQUEST || hdr.midflight.kind == RESULT_FOR_ALL)) {
                // Before `admission`, so that these do not wait for it: `membership` then follows in the next stage.
                if (hdr.ipv6.isValid()) {
                    meta.sender = hdr.ipv6.source;
                } else {
                    meta.sender = (bit<128>)hdr.ipv4.source;
                }
                admission.apply();
                if (meta.refused) {
                    meta.reason = NOT_ADMITTED;
                } else if (meta.token[63:32] != 0) {
                    meta.refused = true;
                    meta.reason = WRONG_TOKEN;
                } else if (meta.token[31:0] != 0) {
                    meta.refused = true;
                    meta.reason = WRONG_TOKEN;
                } else if (meta.colour == RED) {
                    meta.refused = true;
                    meta.reason = TOO_FAST;
                } else {
                    meta.admitted = true;
                    if (meta.bound == 1) {
                        membership.apply();
                    }
                }
            }
            if (meta.refused) {
                refused.count(meta.reason);
            }

            // Compute.
            if (meta.admitted) {
                if (hdr.udp.checksum != 0) {
                    meta.summed = true;
                }
                if (hdr.midflight.kind == RESULT_FOR_ALL) {
                    meta.verdict = MULTICAST;
                } else if (hdr.seen.isValid()) {
                    seen.apply(hdr, meta);
                }
            }

            // Act on the verdict.
            if (meta.verdict == DROP) {
                dropped.count(0);
                drop();
            } else if (meta.verdict == REPLY) {
                reply();
                if (hdr.ipv4.isValid()) {
                    reply_ipv4();
                } else {
                    reply_ipv6();
                }
            } else if (meta.verdict == MULTICAST) {
                multicast();
                if (hdr.ipv4.isValid()) {
                    multicast_ipv4();
                } else {
                    multicast_ipv6();
                }
            } else if (hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
                route.apply();
            } else if (hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1) {
                route_ipv6.apply();
            } else {
                unreachable();
            }
            if (meta.unroutable) {
                unroutable.count(0);
            }
            bridge();
        }
    }
}

control ingress_deparse(packet_out packet, inout headers_t hdr, in metadata_t meta,
                        in ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

    apply {
        if (hdr.ipv4.isValid()) {
            hdr.ipv4.checksum = ipv4_checksum.update({
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            });
        }
        if (meta.summed) {
            hdr.udp.checksum = udp_checksum.update({
                hdr.ipv4.source, hdr.ipv4.destination, hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.source,
                hdr.udp.destination, hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application,
                hdr.midflight.sequence, hdr.midflight.token, hdr.seen.operation, hdr.seen.flags, hdr.seen.item,
                meta.rest
            }, true);
        }
        packet.emit(hdr.bridge);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
        packet.emit(hdr.seen);
    }
}

parser egress_parse(packet_in packet, out egress_headers_t hdr, out egress_metadata_t meta,
                    out egress_intrinsic_metadata_t eg_intr_md) {
    Checksum() udp_checksum;
    bridge_t bridge;

    state start {
        packet.extract(eg_intr_md);
        meta.summed = false;
        meta.rest = 0;
        meta.address = 0;
        meta.address_ipv6 = 0;
        transition parse_bridge;
    }

    state parse_bridge {
        packet.extract(bridge);
        meta.verdict = bridge.verdict[1:0];
        meta.ingress_port = bridge.ingress_port;
        transition parse_ethernet;
    }

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default: accept;
        }
    }

    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        udp_checksum.subtract({ hdr.ipv4.source, hdr.ipv4.destination });
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        udp_checksum.subtract({ hdr.ipv6.source, hdr.ipv6.destination });
        transition select(hdr.ipv6.next_header) {
            PROTOCOL_UDP: parse_udp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        udp_checksum.subtract({ hdr.udp.source, hdr.udp.destination, hdr.udp.checksum });
        udp_checksum.subtract_all_and_deposit(meta.rest);
        transition select(hdr.udp.source, hdr.udp.destination) {
            (MIDFLIGHT_PORT, _): parse_midflight;
            (_, MIDFLIGHT_PORT): parse_midflight;
            default: accept;
        }
    }

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition accept;
    }
}

control egress(inout egress_headers_t hdr, inout egress_metadata_t meta,
               in egress_intrinsic_metadata_t eg_intr_md,
               in egress_intrinsic_metadata_from_parser_t eg_prsr_md,
               inout egress_intrinsic_metadata_for_deparser_t eg_dprsr_md,
               inout egress_intrinsic_metadata_for_output_port_t eg_oport_md) {
    action to_host(bit<48> mac, bit<32> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    action to_host_ipv6(bit<48> mac, bit<128> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address_ipv6 = address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    // A switch below has members of its own.
    action to_switch(bit<48> mac) {
        hdr.ethernet.destination = mac;
        hdr.midflight.kind = RESULT_FOR_ALL;
    }

    // Who listens to an application's results behind which port.
    table deliver {
        key = {
            hdr.midflight.application: exact;
            eg_intr_md.egress_port: exact;
        }
        actions = {
            to_host;
            to_host_ipv6;
            to_switch;
            NoAction;
        }
        default_action = NoAction();
        size = 1024;
    }

    // Members get copies as they were admitted, by IPv4 or IPv6, whichever of them brought the request. An IPv6 address
    // stands for the IPv4 address at its end (RFC 6052). An action writes constants, or moves one field: fields of a
    // header may share a container, for which an action has only two sources.
    action to_ipv4() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.ipv4.setValid();
        hdr.ipv4.version = 4;
        hdr.ipv4.ihl = 5;
        hdr.ipv4.identification = 0;
        hdr.ipv4.reserved = 0;
        hdr.ipv4.dont_fragment = 1;
        hdr.ipv4.more_fragments = 0;
        hdr.ipv4.fragment_offset = 0;
        hdr.ipv4.ttl = 64;
        hdr.ipv4.protocol = PROTOCOL_UDP;
    }

    action move_to_tos() {
        hdr.ipv4.tos = hdr.ipv6.traffic_class;
    }

    action move_to_ipv4_source() {
        hdr.ipv4.source = hdr.ipv6.source[31:0];
    }

    action move_to_ipv4_length() {
        hdr.ipv4.length = hdr.udp.length;
    }

    action add_ipv4_header() {
        hdr.ipv4.length = hdr.ipv4.length + 20;
    }

    action remove_ipv6() {
        hdr.ipv6.setInvalid();
    }

    action to_ipv6() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV6;
        hdr.ipv6.setValid();
        hdr.ipv6.version = 6;
        hdr.ipv6.flow_label = 0;
        hdr.ipv6.next_header = PROTOCOL_UDP;
        hdr.ipv6.hop_limit = 64;
        hdr.ipv6.source[127:32] = IPV4_IN_IPV6;
    }

    action move_to_traffic_class() {
        hdr.ipv6.traffic_class = hdr.ipv4.tos;
    }

    action move_to_ipv6_source() {
        hdr.ipv6.source[31:0] = hdr.ipv4.source;
    }

    action move_to_ipv6_length() {
        hdr.ipv6.length = hdr.udp.length;
    }

    action remove_ipv4() {
        hdr.ipv4.setInvalid();
    }

    apply {
        if (hdr.udp.isValid() && hdr.udp.checksum != 0) {
            meta.summed = true;
        }
        if (meta.verdict == MULTICAST) {
            switch (deliver.apply().action_run) {
                to_host: {
                    if (hdr.ipv6.isValid()) {
                        to_ipv4();
                        move_to_tos();
                        move_to_ipv4_source();
                        move_to_ipv4_length();
                        add_ipv4_header();
                        remove_ipv6();
                    }
                    hdr.ipv4.destination = meta.address;
                }
                to_host_ipv6: {
                    if (hdr.ipv4.isValid()) {
                        to_ipv6();
                        move_to_traffic_class();
                        move_to_ipv6_source();
                        move_to_ipv6_length();
                        remove_ipv4();
                    }
                    hdr.ipv6.destination = meta.address_ipv6;
                }
            }
        }
        if (eg_intr_md.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)meta.ingress_port;
        }
    }
}

control egress_deparse(packet_out packet, inout egress_headers_t hdr, in egress_metadata_t meta,
                       in egress_intrinsic_metadata_for_deparser_t eg_dprsr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

    apply {
        if (hdr.ipv4.isValid()) {
            hdr.ipv4.checksum = ipv4_checksum.update({
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            });
        }
        if (meta.summed) {
            hdr.udp.checksum = udp_checksum.update({
                hdr.ipv4.source, hdr.ipv4.destination, hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.source,
                hdr.udp.destination, hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application,
                hdr.midflight.sequence, hdr.midflight.token, meta.rest
            }, true);
        }
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
    }
}

Pipeline(ingress_parse(), ingress(), ingress_deparse(), egress_parse(), egress(), egress_deparse()) pipe;

Switch(pipe) main;
