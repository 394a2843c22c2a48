; An IPv4 router as an XDP program, written by hand: what `forwarder.p4` does, with the kernel's own maps.
; routes: a longest-prefix trie from {prefix length, address} to {port, next hop's MAC address}; ports: a map of interfaces.

@routes = external global i8
@ports = external global i8


define i32 @main(ptr %frame) section "xdp" {
entry:
  %key = alloca [8 x i8], align 4
  %begin32 = load i32, ptr %frame, align 4
  %end.at = getelementptr i8, ptr %frame, i64 4
  %end32 = load i32, ptr %end.at, align 4
  %begin64 = zext i32 %begin32 to i64
  %end64 = zext i32 %end32 to i64
  %begin = inttoptr i64 %begin64 to ptr
  %end = inttoptr i64 %end64 to ptr
  %least = getelementptr i8, ptr %begin, i64 34
  %short = icmp ugt ptr %least, %end
  br i1 %short, label %drop, label %ethernet

ethernet:
  %type.at = getelementptr i8, ptr %begin, i64 12
  %type = load i16, ptr %type.at, align 1
  %ipv4 = icmp eq i16 %type, 8
  br i1 %ipv4, label %header, label %drop

header:
  %ip = getelementptr i8, ptr %begin, i64 14
  %version = load i8, ptr %ip, align 1
  %plain = icmp eq i8 %version, 69
  br i1 %plain, label %check, label %drop

check:
  %ttl.at = getelementptr i8, ptr %begin, i64 22
  %ttl = load i8, ptr %ttl.at, align 1
  %alive = icmp ugt i8 %ttl, 1
  br i1 %alive, label %verify, label %drop

verify:
  %w0 = load i32, ptr %ip, align 1
  %p1 = getelementptr i8, ptr %begin, i64 18
  %w1 = load i32, ptr %p1, align 1
  %p2 = getelementptr i8, ptr %begin, i64 22
  %w2 = load i32, ptr %p2, align 1
  %p3 = getelementptr i8, ptr %begin, i64 26
  %w3 = load i32, ptr %p3, align 1
  %p4 = getelementptr i8, ptr %begin, i64 30
  %w4 = load i32, ptr %p4, align 1
  %z0 = zext i32 %w0 to i64
  %z1 = zext i32 %w1 to i64
  %z2 = zext i32 %w2 to i64
  %z3 = zext i32 %w3 to i64
  %z4 = zext i32 %w4 to i64
  %s1 = add i64 %z0, %z1
  %s2 = add i64 %s1, %z2
  %s3 = add i64 %s2, %z3
  %s4 = add i64 %s3, %z4
  %l32 = and i64 %s4, 4294967295
  %h32 = lshr i64 %s4, 32
  %f1 = add i64 %l32, %h32
  %l16 = and i64 %f1, 65535
  %h16 = lshr i64 %f1, 16
  %f2 = add i64 %l16, %h16
  %l16b = and i64 %f2, 65535
  %h16b = lshr i64 %f2, 16
  %f3 = add i64 %l16b, %h16b
  %l16c = and i64 %f3, 65535
  %h16c = lshr i64 %f3, 16
  %f4 = add i64 %l16c, %h16c
  %right = icmp eq i64 %f4, 65535
  br i1 %right, label %look, label %drop

look:
  store i32 32, ptr %key, align 4
  %key.address = getelementptr i8, ptr %key, i64 4
  store i32 %w4, ptr %key.address, align 4
  %lookup = inttoptr i64 1 to ptr
  %route = call ptr %lookup(ptr @routes, ptr %key)
  %none = icmp eq ptr %route, null
  br i1 %none, label %drop, label %forward

forward:
  %old.low = load i32, ptr %begin, align 1
  %old.at = getelementptr i8, ptr %begin, i64 4
  %old.high = load i16, ptr %old.at, align 1
  %source.at = getelementptr i8, ptr %begin, i64 6
  store i32 %old.low, ptr %source.at, align 1
  %source.high = getelementptr i8, ptr %begin, i64 10
  store i16 %old.high, ptr %source.high, align 1
  %mac.at = getelementptr i8, ptr %route, i64 4
  %mac.low = load i32, ptr %mac.at, align 4
  store i32 %mac.low, ptr %begin, align 1
  %mac.high.at = getelementptr i8, ptr %route, i64 8
  %mac.high = load i16, ptr %mac.high.at, align 4
  store i16 %mac.high, ptr %old.at, align 1
  %fewer = sub i8 %ttl, 1
  store i8 %fewer, ptr %ttl.at, align 1
  ; RFC 1624: the TTL is the high byte of its word, so the checksum grows by 0x0100 in one's complement.
  %sum.at = getelementptr i8, ptr %begin, i64 24
  %sum = load i16, ptr %sum.at, align 1
  %sum32 = zext i16 %sum to i32
  %more = add i32 %sum32, 1
  %carry = lshr i32 %more, 16
  %folded = add i32 %more, %carry
  %sum16 = trunc i32 %folded to i16
  store i16 %sum16, ptr %sum.at, align 1
  %port = load i32, ptr %route, align 4
  %port64 = zext i32 %port to i64
  %redirect = inttoptr i64 51 to ptr
  %result = call i64 %redirect(ptr @ports, i64 %port64, i64 1)
  %answer = trunc i64 %result to i32
  ret i32 %answer

drop:
  ret i32 1
}
