// Locks on one switch: P4_16 for the v1model architecture.
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
const bit<8> FOR_HOST = 4;             // a request that a switch has left to the host

// The applications' ids in the common header.
const bit<16> LOCKS_ID = 1;

// What a kernel decides about its packet. The ingress control acts on it afterwards.
const bit<3> FORWARD = 0;
const bit<3> DROP = 1;
const bit<3> REPLY = 2;      // back to the sender, as a result
const bit<3> MULTICAST = 3;  // to all members of the application, as a result
const bit<3> FALLBACK = 4;   // to the host that it is addressed to, which computes it itself

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

// What locks sends. Lock: Grant locks in the order of requests: to one exclusive holder, or to all consecutive shared
// requests.
header locks_t {
    bit<16> lock;
    bit<16> client;
    bit<8> wish;
    bit<8> status;
    bit<16> epoch;
    bit<32> ticket;
    bit<32> granted;
}

// An element of each register of locks, for the controller.
header locks_state_t {
    bit<32> latest;
    bit<64> queue;
    bit<1> inside;
    bit<32> ticket;
    bit<4> exclusive;
    bit<32> granted;
    bit<3> reserved;  // up to a whole byte
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
    locks_state_t locks_state;
    locks_t locks;
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
    bit<3> verdict;  // what the kernel decided
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
            (VERSION, STATE, LOCKS_ID): parse_locks_state;
            default: accept;
        }
    }

    state parse_locks_state {
        packet.extract(hdr.locks_state);
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
            (VERSION, REQUEST, LOCKS_ID): parse_locks;
            default: accept;
        }
    }

    state parse_locks {
        packet.extract(hdr.locks);
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
                hdr.midflight, hdr.locks
            },
            meta.remainder, HashAlgorithm.csum16);
    }
}

// The kernel of locks: Lock.ingress in lock.py, with locks=4, clients=16, depth=4.
// Grant locks in the order of requests: to one exclusive holder, or to all consecutive shared requests.
control locks_kernel(inout headers_t hdr, inout metadata_t meta) {
    register<bit<32>>(64) latest;
    // Holds its values XOR 18446744052234715130, so that a cleared register means 18446744052234715130.
    register<bit<64>>(4) queue;
    register<bit<1>>(64) inside;
    register<bit<32>>(64) ticket;
    register<bit<4>>(4) exclusive;
    // Holds its values XOR 4294967290, so that a cleared register means 4294967290.
    register<bit<32>>(4) granted;
    bool releasing;
    bit<32> owner;
    bit<32> there;
    int<32> ahead;
    bool fresh;
    bit<32> room;
    bool asks;
    bool gives;
    bit<64> before;
    bit<32> tail;
    bit<32> head;
    bit<32> count;
    bool enters;
    bool leaves;
    bit<1> inside_value;
    bit<32> ticket_read;
    bit<4> mark;
    bool alone;
    bit<4> marks;
    bit<32> turn;
    bit<4> ring;
    bit<32> following;
    bool goes_on;
    bool shares;
    bool has;
    bool at_once;
    bit<32> granted_value;
    bool passes;

    apply {
        if (hdr.locks_state.isValid()) {
            if (hdr.state.index < 64) {
                if (hdr.state.written == 0) {
                    latest.read(hdr.locks_state.latest, hdr.state.index);
                }
                if (hdr.state.written[0:0] == 1) {
                    latest.write(hdr.state.index, hdr.locks_state.latest);
                }
            }
            if (hdr.state.index < 4) {
                if (hdr.state.written == 0) {
                    queue.read(hdr.locks_state.queue, hdr.state.index);
                    hdr.locks_state.queue = hdr.locks_state.queue ^ 0xfffffffafffffffa;
                }
                if (hdr.state.written[1:1] == 1) {
                    queue.write(hdr.state.index, hdr.locks_state.queue ^ 0xfffffffafffffffa);
                }
            }
            if (hdr.state.index < 64) {
                if (hdr.state.written == 0) {
                    inside.read(hdr.locks_state.inside, hdr.state.index);
                    ticket.read(hdr.locks_state.ticket, hdr.state.index);
                }
                if (hdr.state.written[2:2] == 1) {
                    inside.write(hdr.state.index, hdr.locks_state.inside);
                }
                if (hdr.state.written[3:3] == 1) {
                    ticket.write(hdr.state.index, hdr.locks_state.ticket);
                }
            }
            if (hdr.state.index < 4) {
                if (hdr.state.written == 0) {
                    exclusive.read(hdr.locks_state.exclusive, hdr.state.index);
                    granted.read(hdr.locks_state.granted, hdr.state.index);
                    hdr.locks_state.granted = hdr.locks_state.granted ^ 0xfffffffa;
                }
                if (hdr.state.written[4:4] == 1) {
                    exclusive.write(hdr.state.index, hdr.locks_state.exclusive);
                }
                if (hdr.state.written[5:5] == 1) {
                    granted.write(hdr.state.index, hdr.locks_state.granted ^ 0xfffffffa);
                }
            }
            hdr.midflight.kind = STATE_DONE;
            return;
        }

        if (hdr.locks.lock >= 4 || hdr.locks.client >= 16 || hdr.midflight.sequence == 0) {
            meta.verdict = DROP;
            return;
        }
        if (!(hdr.locks.wish == 1 || hdr.locks.wish == 2 || hdr.locks.wish == 3)) {
            meta.verdict = DROP;
            return;
        }
        releasing = hdr.locks.wish == 3;
        if (releasing && hdr.locks.epoch != meta.epoch) {
            hdr.locks.status = 5;
            hdr.locks.epoch = meta.epoch;
            meta.verdict = REPLY;
            return;
        }
        hdr.locks.epoch = meta.epoch;
        owner = (((bit<32>)hdr.locks.lock) * 16) + ((bit<32>)hdr.locks.client);
        // there = held.update(index, lambda old: number if old == 0 or signed(number - old) > 0 else old)
        there = 0;
        if (owner < 64) {
            latest.read(there, owner);
            latest.write(owner,
                (there == 0 || (int<32>)(hdr.midflight.sequence - there) > 0) ? hdr.midflight.sequence : there);
        }
        ahead = (there == 0) ? 32s1 : ((int<32>)(hdr.midflight.sequence - there));
        if (ahead < 0) {
            meta.verdict = DROP;
            return;
        }
        fresh = ahead > 0;
        room = 3;
        if (hdr.locks.client == 0) {
            room = 4;
        }
        asks = fresh && !releasing;
        gives = fresh && releasing;
        // before = self.queue.update(...)
        queue.read(before, (bit<32>)hdr.locks.lock);
        before = before ^ 0xfffffffafffffffa;
        queue.write((bit<32>)hdr.locks.lock,
            ((asks && before[63:32] - before[31:0] < room)
                ? ((before[63:32] + 1) ++ before[31:0])
                : ((gives && before[63:32] != before[31:0])
                    ? (before[63:32] ++ (before[31:0] + 1))
                    : before)) ^ 0xfffffffafffffffa);
        tail = before[63:32];
        head = before[31:0];
        count = tail - head;
        enters = asks && count < room;
        leaves = gives && count != 0;
        // inside = self.inside.update_fetch(owner, lambda old: 1 if enters else (0 if fresh else old))
        inside_value = 0;
        if (owner < 64) {
            inside.read(inside_value, owner);
        }
        inside_value = enters ? 1w1 : (fresh ? 1w0 : inside_value);
        if (owner < 64) {
            inside.write(owner, inside_value);
        }
        // wire.ticket = self.ticket.update_fetch(owner, lambda old: (tail if enters else 0) if asks else old)
        ticket_read = 0;
        if (owner < 64) {
            ticket.read(ticket_read, owner);
        }
        ticket_read = asks ? (enters ? tail : 32w0) : ticket_read;
        if (owner < 64) {
            ticket.write(owner, ticket_read);
        }
        hdr.locks.ticket = ticket_read;
        mark = 4w1 << (((enters ? tail : head) & 3) > 255 ? 8w255 : (bit<8>)((enters ? tail : head) & 3));
        alone = hdr.locks.wish == 2;
        // marks = self.exclusive.update(...)
        exclusive.read(marks, (bit<32>)hdr.locks.lock);
        exclusive.write((bit<32>)hdr.locks.lock,
            enters ? (alone ? (marks | mark) : marks) : (leaves ? (marks & (~mark)) : marks));
        turn = (head + 1) & 3;
        ring = (marks >> (turn > 255
            ? 8w255
            : (bit<8>)turn)) | (marks << ((4 - turn) > 255
            ? 8w255
            : (bit<8>)(4 - turn)));
        following = head + 1;
        goes_on = true;
        // place 1
        shares = ring[0:0] == 0;
        has = goes_on && 1 < count;
        if (has) {
            following = following + 1;
        }
        goes_on = has && shares;
        // place 2
        shares = ring[1:1] == 0;
        has = goes_on && 2 < count && shares;
        if (has) {
            following = following + 1;
        }
        goes_on = has && shares;
        // place 3
        shares = ring[2:2] == 0;
        has = goes_on && 3 < count && shares;
        if (has) {
            following = following + 1;
        }
        goes_on = has && shares;
        at_once = enters && (count == 0 || (!alone && marks == 0));
        // granted = self.granted.update(...)
        granted.read(granted_value, (bit<32>)hdr.locks.lock);
        granted_value = granted_value ^ 0xfffffffa;
        granted.write((bit<32>)hdr.locks.lock,
            (at_once ? (tail + 1) : ((leaves && granted_value == head + 1) ? following : granted_value)) ^ 0xfffffffa);
        passes = leaves && granted_value == head + 1 && following != granted_value;
        hdr.locks.granted = at_once ? (tail + 1) : (passes ? following : granted_value);
        if (releasing) {
            hdr.locks.status = 3;
            if (passes) {
                meta.verdict = MULTICAST;
            } else {
                meta.verdict = REPLY;
            }
        } else if (inside_value == 0) {
            hdr.locks.status = 4;
            meta.verdict = FALLBACK;
        } else {
            hdr.locks.status = ((int<32>)(hdr.locks.granted - hdr.locks.ticket) > 0) ? 8w2 : 8w1;
            meta.verdict = REPLY;
        }
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

    // Packets that applications drop, by their place in the program.
    counter(1, CounterType.packets) dropped;

    locks_kernel() locks;

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
                    if (hdr.locks.isValid()) {
                        meta.member = (bit<16>)hdr.locks.client;
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
            } else if (hdr.locks.isValid() || hdr.locks_state.isValid()) {
                locks.apply(hdr, meta);
                if (meta.verdict == DROP) {
                    dropped.count(0);
                }
            }
        }

        // Act on the verdict.
        if (hdr.state.isValid()) {
            return;  // on its way back to the controller
        }
        if (meta.verdict == FALLBACK) {
            hdr.midflight.kind = FOR_HOST;
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
                hdr.midflight, hdr.locks
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
        packet.emit(hdr.locks_state);
        packet.emit(hdr.locks);
    }
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;
