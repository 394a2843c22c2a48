// Elephants on one switch: P4_16 for the v1model architecture.
// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.

#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;           // packets from and to the controller
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_IPV6 = 0x86DD;
const bit<8> PROTOCOL_UDP = 17;
const bit<96> IPV4_IN_IPV6 = 0x0064_FF9B_0001_0000_0000_0000;  // 64:ff9b:1::/96, of RFC 8215
const bit<16> MIDFLIGHT_PORT = 19782;  // 0x4D46, "MF"
const bit<8> VERSION = 2;
const bit<8> REQUEST = 1;              // to be computed on
const bit<8> RESULT = 2;               // only forwarded
const bit<8> RESULT_FOR_ALL = 3;       // from the switch above: goes to all members
const bit<2> RED = 2;                  // a meter's colour for what exceeds its rate

// Why a request is not computed on: the indexes of `refused`.
const bit<32> NOT_ADMITTED = 0;        // no application like that is admitted on the port
const bit<32> WRONG_TOKEN = 1;         // its token is not the application's
const bit<32> NO_MEMBER = 2;           // no member sends by that port, from that address, with that number
const bit<32> TOO_FAST = 3;            // it exceeds the application's rate on the port
const bit<8> STATE = 16;               // from the controller: asks for state
const bit<8> STATE_DONE = 17;          // the answer

// The applications' ids in the common header.
const bit<16> ELEPHANTS_ID = 1;

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

// A controller's request for an application's state, behind the common header. One element of each register follows:
// to be read, or to be written where `written` has the register's bit, bit 0 for the first.
header state_t {
    bit<32> written;
    bit<32> index;
}

// What elephants sends. HeavyHitter: Raise an alert when an item's amounts in one window reach `above`: once for each
// item and window, unless heavy items share a slot.
header elephants_t {
    bit<64> item;
    bit<32> amount;
}

// An element of each register of elephants, for the controller.
header elephants_state_t {
    bit<64> clock;
    bit<64> counts_0;
    bit<64> counts_1;
    bit<96> told;
}

// What elephants tells the controller.
struct elephants_alert_t {
    bit<64> item;
    bit<32> estimate;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
    state_t state;
    elephants_state_t elephants_state;
    elephants_t elephants;
}

struct metadata_t {
    bool admitted;   // the packet is computed on here
    bit<2> colour;   // of its rate
    bit<16> group;   // the multicast group of its members
    bit<16> epoch;   // the life that the switch's state is in
    bit<64> token;   // what its packets carry
    bit<1> bound;   // whether only members may send them
    bit<128> sender;  // the address that the packet comes from
    bit<16> member;  // the number of the member that it names
    bit<16> job;     // the number of its job
    bit<128> address;  // of the member that a copy is for
    bit<16> remainder;  // of the UDP checksum of a whole IPv6 packet: none
    bit<2> verdict;  // what the kernel decided
    elephants_alert_t elephants_alert;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta,
             inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }

    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.egress_port) {
            (bit<16>)CPU_PORT: parse_state;
            default: parse_ethernet;
        }
    }

    state parse_state {
        packet.extract(hdr.midflight);
        packet.extract(hdr.state);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, STATE, ELEPHANTS_ID): parse_elephants_state;
            default: accept;
        }
    }

    state parse_elephants_state {
        packet.extract(hdr.elephants_state);
        transition accept;
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
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    // Nor are those with extension headers.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        verify(hdr.ipv6.version == 6, error.ParserInvalidArgument);
        transition select(hdr.ipv6.next_header) {
            PROTOCOL_UDP: parse_udp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            default: accept;
        }
    }

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, REQUEST, ELEPHANTS_ID): parse_elephants;
            default: accept;
        }
    }

    state parse_elephants {
        packet.extract(hdr.elephants);
        transition accept;
    }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        // With the checksum among them, the words of a packet add up to all ones.
        verify_checksum_with_payload(hdr.ipv6.isValid() && hdr.midflight.isValid(),
            {
                hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.length, (bit<16>)PROTOCOL_UDP, hdr.udp,
                hdr.midflight, hdr.elephants
            },
            meta.remainder, HashAlgorithm.csum16);
    }
}

// A hash from a CRC-32: MurmurHash3's finaliser. CRCs are linear: with seeds of their own they would still collide for
// the same values.
bit<32> scramble(in bit<32> checksum, in bit<32> seed) {
    bit<32> h = checksum ^ (seed * 0x9E3779B1);
    h = (h ^ (h >> 16)) * 0x85EBCA6B;
    h = (h ^ (h >> 13)) * 0xC2B2AE35;
    return h ^ (h >> 16);
}

// The kernel of elephants: HeavyHitter.ingress in heavyhitter.py, with above=1000000, window=100000, rows=2,
// columns=4096, slots=1024, item_bits=64.
// Raise an alert when an item's amounts in one window reach `above`: once for each item and window, unless heavy items
// share a slot.
control elephants_kernel(inout headers_t hdr, inout metadata_t meta) {
    // Holds its values XOR 4294967296, so that a cleared register means 4294967296.
    register<bit<64>>(1) clock;
    register<bit<64>>(4096) counts_0;
    register<bit<64>>(4096) counts_1;
    register<bit<96>>(1024) told;
    bit<64> clock_value;
    bit<32> window;
    bit<32> estimate;
    bit<32> checksum;
    bit<32> column;
    bit<64> count;
    bit<96> mark;
    bit<96> before;

    apply {
        if (hdr.elephants_state.isValid()) {
            if (hdr.state.index < 1) {
                if (hdr.state.written == 0) {
                    clock.read(hdr.elephants_state.clock, hdr.state.index);
                    hdr.elephants_state.clock = hdr.elephants_state.clock ^ 0x100000000;
                }
                if (hdr.state.written[0:0] == 1) {
                    clock.write(hdr.state.index, hdr.elephants_state.clock ^ 0x100000000);
                }
            }
            if (hdr.state.index < 4096) {
                if (hdr.state.written == 0) {
                    counts_0.read(hdr.elephants_state.counts_0, hdr.state.index);
                    counts_1.read(hdr.elephants_state.counts_1, hdr.state.index);
                }
                if (hdr.state.written[1:1] == 1) {
                    counts_0.write(hdr.state.index, hdr.elephants_state.counts_0);
                    counts_1.write(hdr.state.index, hdr.elephants_state.counts_1);
                }
            }
            if (hdr.state.index < 1024) {
                if (hdr.state.written == 0) {
                    told.read(hdr.elephants_state.told, hdr.state.index);
                }
                if (hdr.state.written[2:2] == 1) {
                    told.write(hdr.state.index, hdr.elephants_state.told);
                }
            }
            hdr.midflight.kind = STATE_DONE;
            return;
        }

        // clock = self.clock.update(...)
        clock.read(clock_value, 0);
        clock_value = clock_value ^ 0x100000000;
        clock.write(0,
            ((clock_value[31:0] + 1 < 100000) ? (clock_value + 1) : ((clock_value[63:32] + 1) ++ 32w0)) ^ 0x100000000);
        window = clock_value[63:32];
        estimate = 0xffffffff;
        // row 0
        hash(checksum, HashAlgorithm.crc32, 32w0, { hdr.elephants.item }, 64w0x100000000);
        column = scramble(checksum, 0) & 4095;
        // count = self.counts[row].update_fetch(...)
        counts_0.read(count, column);
        count = window ++ ((count[63:32] == window) ? (count[31:0] |+| hdr.elephants.amount) : hdr.elephants.amount);
        counts_0.write(column, count);
        estimate = (count[31:0] < estimate) ? count[31:0] : estimate;
        // row 1
        column = scramble(checksum, 1) & 4095;
        counts_1.read(count, column);
        count = window ++ ((count[63:32] == window) ? (count[31:0] |+| hdr.elephants.amount) : hdr.elephants.amount);
        counts_1.write(column, count);
        estimate = (count[31:0] < estimate) ? count[31:0] : estimate;
        if (estimate >= 1000000) {
            mark = window ++ hdr.elephants.item;
            // before = self.told.update(hash_(wire.item, seed=self.rows, range=self.slots), lambda _: mark)
            told.read(before, scramble(checksum, 2) & 1023);
            told.write(scramble(checksum, 2) & 1023, mark);
            if (before != mark) {
                meta.elephants_alert.item = hdr.elephants.item;
                meta.elephants_alert.estimate = estimate;
                digest<elephants_alert_t>(1, meta.elephants_alert);
            }
        }
        meta.verdict = FORWARD;
    }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    // Malformed packets are counted and dropped: cut short, of another version, or with a wrong checksum.
    counter(1, CounterType.packets) malformed;
    // Packets for which there is no way.
    counter(1, CounterType.packets) unroutable;

    action drop() {
        mark_to_drop(standard_metadata);
    }

    action unreachable() {
        unroutable.count(0);
        mark_to_drop(standard_metadata);
    }

    // Of the two IP headers a packet has one: what is done to the other is done to nothing.
    action to_port(bit<9> port, bit<48> mac) {
        standard_metadata.egress_spec = port;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
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
            to_port;
            unreachable;
        }
        default_action = unreachable();
        size = 4096;
    }

    // What is computed on, by application and port.
    direct_counter(CounterType.packets_and_bytes) admitted;
    // How much of it: what comes faster passes by.
    direct_meter<bit<2>>(MeterType.packets) admitted_rate;

    action admit(bit<16> group, bit<16> epoch, bit<64> token, bit<1> bound) {
        meta.group = group;
        meta.epoch = epoch;
        meta.token = token;
        meta.bound = bound;
        admitted.count();
        admitted_rate.read(meta.colour);
    }

    // The applications that compute here, and the ports that their requests come by: the multicast group of their members,
    // the epoch, which the controller raises when the switch has lost its state, and the token that their packets carry.
    // With `bound`, only what is in `membership` is computed on. Other requests are forwarded.
    table admission {
        key = {
            hdr.midflight.application: exact;
            standard_metadata.ingress_port: ternary;
        }
        actions = {
            admit;
            NoAction;
        }
        default_action = NoAction();
        counters = admitted;
        meters = admitted_rate;
        size = 4096;
    }

    // Who sends what by which port: the member's address, and the numbers of member and job that its requests carry.
    table membership {
        key = {
            hdr.midflight.application: exact;
            hdr.midflight.kind: exact;
            standard_metadata.ingress_port: exact;
            meta.sender: exact;
            meta.member: exact;
            meta.job: exact;
        }
        actions = {
            NoAction;
        }
        default_action = NoAction();
        size = 4096;
    }

    // Requests that are not computed on, but forwarded.
    counter(4, CounterType.packets) refused;

    // Turn the packet around: what is its destination becomes its source.
    action reply() {
        bit<48> mac = hdr.ethernet.source;
        bit<32> address = hdr.ipv4.source;
        bit<128> address_ipv6 = hdr.ipv6.source;
        bit<16> udp_port = hdr.udp.source;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.destination = address;
        hdr.ipv4.ttl = 64;
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.destination = address_ipv6;
        hdr.ipv6.hop_limit = 64;
        hdr.udp.source = hdr.udp.destination;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
        standard_metadata.egress_spec = standard_metadata.ingress_port;
    }

    // The copies get their destinations in egress. They come from the address that the request was sent to.
    action multicast() {
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.ttl = 64;
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.hop_limit = 64;
        hdr.udp.source = MIDFLIGHT_PORT;
        hdr.midflight.kind = RESULT;
        standard_metadata.mcast_grp = meta.group;
    }

    elephants_kernel() elephants;

    apply {
        meta.verdict = FORWARD;
        if (hdr.packet_out.isValid()) {
            // From the controller: sent as it is; but a request for state goes to the application and back.
            standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            if (!hdr.state.isValid()) {
                return;
            }
            meta.admitted = true;
        } else if (standard_metadata.parser_error != error.NoError
                || standard_metadata.checksum_error == 1
                || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)) {
            malformed.count(0);
            drop();
            return;
        } else if (hdr.midflight.isValid() && (hdr.midflight.kind == REQUEST || hdr.midflight.kind == RESULT_FOR_ALL)) {
            if (!admission.apply().hit) {
                refused.count(NOT_ADMITTED);
            } else if (hdr.midflight.token != meta.token) {
                refused.count(WRONG_TOKEN);
            } else if (meta.colour == RED) {
                refused.count(TOO_FAST);
            } else {
                meta.admitted = true;
                if (meta.bound == 1) {
                    meta.sender = (bit<128>)hdr.ipv4.source;
                    if (hdr.ipv6.isValid()) {
                        meta.sender = hdr.ipv6.source;
                    }
                    if (!membership.apply().hit) {
                        refused.count(NO_MEMBER);
                        meta.admitted = false;
                    }
                }
            }
        }

        // Compute.
        if (meta.admitted) {
            hdr.udp.checksum = 0;  // none, as the payload may change; over IPv6 there is one in the end
            if (hdr.midflight.kind == RESULT_FOR_ALL) {
                meta.verdict = MULTICAST;
            } else if (hdr.elephants.isValid() || hdr.elephants_state.isValid()) {
                elephants.apply(hdr, meta);
            }
        }

        // Act on the verdict.
        if (hdr.state.isValid()) {
            return;  // on its way back to the controller
        }
        if (meta.verdict == DROP) {
            drop();
        } else if (meta.verdict == REPLY) {
            reply();
        } else if (meta.verdict == MULTICAST) {
            multicast();
        } else if (hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
            route.apply();
        } else if (hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1) {
            route_ipv6.apply();
        } else {
            unreachable();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action to_host(bit<48> mac, bit<32> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = (bit<128>)address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    action to_host_ipv6(bit<48> mac, bit<128> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = address;
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
            standard_metadata.egress_port: exact;
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
    // stands for the IPv4 address at its end (RFC 6052).
    action to_ipv4() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.ipv4 = {
            version = 4, ihl = 5, tos = hdr.ipv6.traffic_class, length = 20 + hdr.udp.length, identification = 0,
            reserved = 0, dont_fragment = 1, more_fragments = 0, fragment_offset = 0, ttl = 64, protocol = PROTOCOL_UDP,
            checksum = 0, source = hdr.ipv6.source[31:0], destination = 0
        };
        hdr.ipv6.setInvalid();
    }

    action to_ipv6() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV6;
        hdr.ipv6 = {
            version = 6, traffic_class = hdr.ipv4.tos, flow_label = 0, length = hdr.udp.length,
            next_header = PROTOCOL_UDP, hop_limit = 64, source = IPV4_IN_IPV6 ++ hdr.ipv4.source, destination = 0
        };
        hdr.ipv4.setInvalid();
    }

    apply {
        if (meta.verdict == MULTICAST) {
            switch (deliver.apply().action_run) {
                to_host: {
                    if (hdr.ipv6.isValid()) {
                        to_ipv4();
                    }
                    hdr.ipv4.destination = (bit<32>)meta.address;
                }
                to_host_ipv6: {
                    if (hdr.ipv4.isValid()) {
                        to_ipv6();
                    }
                    hdr.ipv6.destination = meta.address;
                }
            }
        }
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
        }
    }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid(),
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        // Over IPv6 there must be one: what was computed on gets another. What would be 0 is all ones.
        update_checksum_with_payload(hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0,
            {
                hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.length, (bit<16>)PROTOCOL_UDP, hdr.udp,
                hdr.midflight, hdr.elephants
            },
            hdr.udp.checksum, HashAlgorithm.csum16);
        update_checksum(hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0,
            { 16w0 }, hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
        packet.emit(hdr.state);
        packet.emit(hdr.elephants_state);
        packet.emit(hdr.elephants);
    }
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;
