-- Midflight's packets in Wireshark: odd, other.
-- Generated from a wire schema. Put it into Wireshark's folder of personal plugins, or start
--   wireshark -X lua_script:FILE

local midflight = Proto("midflight", "Midflight")

local kinds = {
    [1] = "request",
    [2] = "result",
    [3] = "result for all",
    [4] = "left to the host",
    [16] = "asks for state",
    [17] = "state",
}
local applications = {
    [1] = "odd",
    [2] = "other",
}

local f = {}
f.version = ProtoField.uint8("midflight.version", "Version")
f.kind = ProtoField.uint8("midflight.kind", "Kind", base.DEC, kinds)
f.application = ProtoField.uint16("midflight.application", "Application", base.DEC, applications)
f.sequence = ProtoField.uint32("midflight.sequence", "Sequence")
f.token = ProtoField.uint64("midflight.token", "Token", base.HEX)
local cut_short = ProtoExpert.new("midflight.cut_short", "Too short for its application's header",
    expert.group.MALFORMED, expert.severity.ERROR)
f.odd_first = ProtoField.uint8("midflight.odd.first", "first")
f.odd_flag = ProtoField.uint8("midflight.odd.flag", "flag")
f.odd_low = ProtoField.int8("midflight.odd.low", "low")
f.odd_across = ProtoField.int16("midflight.odd.across", "across")
f.odd_wide = ProtoField.uint64("midflight.odd.wide", "wide")
f.odd_deep = ProtoField.int64("midflight.odd.deep", "deep")
f.odd_key = ProtoField.bytes("midflight.odd.key", "key")
f.odd_lanes = ProtoField.int8("midflight.odd.lanes", "lanes")
f.odd_values = ProtoField.int32("midflight.odd.values", "values")
f.other_first = ProtoField.uint8("midflight.other.first", "first")
f.other_flag = ProtoField.uint8("midflight.other.flag", "flag")
f.other_low = ProtoField.int8("midflight.other.low", "low")
f.other_across = ProtoField.int16("midflight.other.across", "across")
f.other_wide = ProtoField.uint64("midflight.other.wide", "wide")
f.other_deep = ProtoField.int64("midflight.other.deep", "deep")
f.other_key = ProtoField.bytes("midflight.other.key", "key")
f.other_lanes = ProtoField.int8("midflight.other.lanes", "lanes")
f.other_values = ProtoField.int32("midflight.other.values", "values")

midflight.fields = f
midflight.experts = { cut_short }

-- Adds `bits` bits from bit `start` of the buffer, a number in two's complement where `signed`.
local function add(tree, field, label, buffer, start, bits, signed)
    local first = math.floor(start / 8)
    local range = buffer(first, math.ceil((start + bits) / 8) - first)
    if bits > 64 then
        tree:add(field, range):prepend_text(label)
        return
    end
    local value = range:bitfield(start - 8 * first, bits)
    if bits > 32 then
        if signed then
            value = Int64.new(value:lower(), value:higher())
            value = value:lshift(64 - bits):arshift(64 - bits)
        end
    elseif signed and value >= 2 ^ (bits - 1) then
        value = value - 2 ^ bits
    end
    tree:add(field, range, value):prepend_text(label)
end

local headers = {}

headers[1] = function(buffer, tree)
    if buffer:len() < 42 then
        tree:add_proto_expert_info(cut_short)
        return
    end
    local branch = tree:add(buffer(0, 42), "odd")
    add(branch, f.odd_first, "", buffer, 0, 8, false)
    add(branch, f.odd_flag, "", buffer, 8, 1, false)
    add(branch, f.odd_low, "", buffer, 9, 7, true)
    add(branch, f.odd_across, "", buffer, 16, 12, true)
    add(branch, f.odd_wide, "", buffer, 28, 40, false)
    add(branch, f.odd_deep, "", buffer, 68, 61, true)
    add(branch, f.odd_key, "", buffer, 129, 128, false)
    for lane = 0, 2 do
        add(branch, f.odd_lanes, "[" .. lane .. "] ", buffer, 257 + 5 * lane, 5, true)
    end
    for lane = 0, 1 do
        add(branch, f.odd_values, "[" .. lane .. "] ", buffer, 272 + 32 * lane, 32, true)
    end
end

headers[2] = function(buffer, tree)
    if buffer:len() < 42 then
        tree:add_proto_expert_info(cut_short)
        return
    end
    local branch = tree:add(buffer(0, 42), "other")
    add(branch, f.other_first, "", buffer, 0, 8, false)
    add(branch, f.other_flag, "", buffer, 8, 1, false)
    add(branch, f.other_low, "", buffer, 9, 7, true)
    add(branch, f.other_across, "", buffer, 16, 12, true)
    add(branch, f.other_wide, "", buffer, 28, 40, false)
    add(branch, f.other_deep, "", buffer, 68, 61, true)
    add(branch, f.other_key, "", buffer, 129, 128, false)
    for lane = 0, 2 do
        add(branch, f.other_lanes, "[" .. lane .. "] ", buffer, 257 + 5 * lane, 5, true)
    end
    for lane = 0, 1 do
        add(branch, f.other_values, "[" .. lane .. "] ", buffer, 272 + 32 * lane, 32, true)
    end
end

function midflight.dissector(buffer, info, tree)
    if buffer:len() < 16 or buffer(0, 1):uint() ~= 2 then
        return 0
    end
    info.cols.protocol = "Midflight"
    local branch = tree:add(midflight, buffer())
    local number, which = buffer(1, 1):uint(), buffer(2, 2):uint()
    branch:add(f.version, buffer(0, 1))
    branch:add(f.kind, buffer(1, 1))
    branch:add(f.application, buffer(2, 2))
    branch:add(f.sequence, buffer(4, 4))
    branch:add(f.token, buffer(8, 8))
    local name = applications[which] or "application " .. which
    info.cols.info = name .. " " .. (kinds[number] or "kind " .. number) .. " " .. buffer(4, 4):uint()
    local show = headers[which]
    if show and (number <= 4) then
        show(buffer(16):tvb(), branch)
    end
    return buffer:len()
end

DissectorTable.get("udp.port"):add(19782, midflight)
