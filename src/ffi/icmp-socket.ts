import type { Pointer } from "bun:ffi";
import { closeSync } from "node:fs";
import { type Address, addressToBytes } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import * as c from "./constants.ts";
import { KernelError } from "./errors.ts";
import { bindSocket, errno, libc, openSocket, receive, setSocketOption } from "./libc.ts";

// asm-generic/sockios.h
const SIOCGSTAMPNS = 0x8907;
// linux/time.h
const CLOCK_REALTIME = 0;

/** Holds the answers of a round of full-size packets on an underlay of jumbo frames, should they have to wait. */
const RECEIVE_BUFFER = 2 * 1024 * 1024;
/** The largest IP packet. */
const PACKET_BYTES = 64 * 1024;

/** By family: the domain, the protocol, and the type of an echo's answer (RFC 792, RFC 4443). */
const KINDS: Readonly<Record<Family, { domain: number; protocol: number; reply: number }>> = {
  4: { domain: c.AF_INET, protocol: c.IPPROTO_ICMP, reply: 0 },
  6: { domain: c.AF_INET6, protocol: c.IPPROTO_ICMPV6, reply: 129 },
};

/** What an answer has to carry so that the kernel hands it over. */
export interface EchoMark {
  /** 16 bits, at the identifier's place */
  readonly identifier: number;
  /** 32 bits, the first of the data */
  readonly cookie: number;
}

/**
 * A raw ICMP socket (raw(7)) that sends echo requests from one address, never fragmented, and gets their answers and no other
 * ICMP message: what else the host gets neither wakes nor fills it. It needs CAP_NET_RAW.
 */
export class IcmpSocket implements Disposable {
  readonly #fd: number;
  readonly #family: Family;
  readonly #source: Address;
  readonly #packet = new Uint8Array(PACKET_BYTES);
  readonly #stamp = new Uint32Array(4);
  /** of whom is written to */
  readonly #to: Uint8Array;
  #open = true;

  /**
   * In the network namespace that the thread is in.
   * @param source an address of this host
   * @throws KernelError, EPERM without CAP_NET_RAW, EADDRNOTAVAIL when no interface has the address
   */
  constructor(family: Family, source: Address, mark: EchoMark) {
    const { domain, protocol } = KINDS[family];
    this.#family = family;
    this.#source = source;
    this.#to = socketAddress(family, source);
    this.#fd = openSocket(domain, c.SOCK_RAW | c.SOCK_CLOEXEC | c.SOCK_NONBLOCK, protocol);
    try {
      this.#filter(mark);
      setSocketOption(this.#fd, c.SOL_SOCKET, c.SO_RCVBUFFORCE, RECEIVE_BUFFER);
      if (family === 4) setSocketOption(this.#fd, c.IPPROTO_IP, c.IP_MTU_DISCOVER, c.IP_PMTUDISC_PROBE);
      else {
        setSocketOption(this.#fd, c.IPPROTO_IPV6, c.IPV6_MTU_DISCOVER, c.IP_PMTUDISC_PROBE);
        setSocketOption(this.#fd, c.IPPROTO_IPV6, c.IPV6_DONTFRAG, 1);
      }
      bindSocket(this.#fd, socketAddress(family, source), source);
      // The first request is refused, for there is no packet yet, and turns the kernel's time stamps on.
      libc().ioctl(this.#fd, SIOCGSTAMPNS, this.#stamp);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** @param message a whole ICMP message; the kernel fills in the checksum of ICMPv6. @throws KernelError */
  send(message: Uint8Array, destination: Address): void {
    const to = this.#to;
    to.set(addressToBytes(destination), ADDRESS_AT[this.#family]);
    if (libc().sendto(this.#fd, message, message.length, c.MSG_DONTWAIT, to, to.length) < 0)
      throw new KernelError("send an echo request to", destination, errno());
  }

  /**
   * The answers that have come since the last call, as ICMP messages; does not wait for more.
   * @returns views of one buffer: each holds only until the next is asked for
   */
  *messages(): Generator<Uint8Array> {
    while (this.#open) {
      const length = receive(this.#fd, this.#packet, c.MSG_DONTWAIT);
      // None are there; an error that the socket had to tell is none of an answer.
      if (length < 0) return;
      // IPv4 hands over the IP header, too.
      const start = this.#family === 4 ? ((this.#packet[0] ?? 0) & 0x0f) * 4 : 0;
      yield this.#packet.subarray(start, length);
    }
  }

  /**
   * When the answer last handed out came in at the interface: it does not matter how long it waited here.
   * @returns milliseconds since the epoch, by the clock of `realTime`
   */
  timeOfLast(): number {
    if (libc().ioctl(this.#fd, SIOCGSTAMPNS, this.#stamp) !== 0)
      throw new KernelError("get time of", `an answer to ${this.#source}`, errno());
    return milliseconds(this.#stamp);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }

  /** Other types are refused before they are copied for this socket, other processes' answers before they are queued. */
  #filter({ identifier, cookie }: EchoMark): void {
    const { reply } = KINDS[this.#family];
    if (this.#family === 4) setSocketOption(this.#fd, c.SOL_RAW, c.ICMP_FILTER, ~(1 << reply));
    else {
      const blocked = new Uint32Array(8).fill(0xffffffff);
      blocked[reply >> 5] = ~(1 << (reply & 31));
      libc().setsockopt(this.#fd, c.IPPROTO_ICMPV6, c.ICMP6_FILTER, blocked, blocked.byteLength);
    }
    attachFilter(this.#fd, this.#family === 4 ? behindHeader(identifier, cookie) : plain(identifier, cookie));
  }
}

// Code, jumps and operand of an instruction of classic BPF: struct sock_filter, linux/filter.h.
type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number];

const LOAD_HEADER_LENGTH = 0xb1; // BPF_LDX | BPF_B | BPF_MSH
const LOAD_WORD_BEHIND = 0x40; // BPF_LD | BPF_W | BPF_IND
const LOAD_HALF_BEHIND = 0x48; // BPF_LD | BPF_H | BPF_IND
const LOAD_WORD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF = 0x28; // BPF_LD | BPF_H | BPF_ABS
const JUMP_IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

/** For a packet that begins with its IPv4 header. */
function behindHeader(identifier: number, cookie: number): Instruction[] {
  return [[LOAD_HEADER_LENGTH, 0, 0, 0], ...matching(LOAD_HALF_BEHIND, LOAD_WORD_BEHIND, identifier, cookie)];
}

/** For a packet that begins with its ICMP header. */
function plain(identifier: number, cookie: number): Instruction[] {
  return matching(LOAD_HALF, LOAD_WORD, identifier, cookie);
}

function matching(half: number, word: number, identifier: number, cookie: number): Instruction[] {
  return [
    [half, 0, 0, 4],
    [JUMP_IF_EQUAL, 0, 3, identifier],
    [word, 0, 0, 8],
    [JUMP_IF_EQUAL, 0, 1, cookie],
    [RETURN, 0, 0, PACKET_BYTES],
    [RETURN, 0, 0, 0],
  ];
}

function attachFilter(fd: number, program: readonly Instruction[]): void {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, [code, whenTrue, whenFalse, operand]] of program.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, whenTrue);
    view.setUint8(index * 8 + 3, whenFalse);
    view.setUint32(index * 8 + 4, operand, true);
  }
  // struct sock_fprog has the address of the program, which therefore is in native memory.
  const memory = Number(libc().malloc(bytes.length)) as Pointer;
  try {
    libc().memcpy(memory, bytes, bytes.length);
    const argument = new Uint8Array(16);
    new DataView(argument.buffer).setUint16(0, program.length, true);
    new DataView(argument.buffer).setBigUint64(8, BigInt(memory), true);
    if (libc().setsockopt(fd, c.SOL_SOCKET, c.SO_ATTACH_FILTER, argument, argument.length) !== 0)
      throw new KernelError("attach a filter to", "a raw ICMP socket", errno());
  } finally {
    libc().free(memory);
  }
}

/** Where the address stands in struct sockaddr_in and sockaddr_in6. */
const ADDRESS_AT: Readonly<Record<Family, number>> = { 4: 4, 6: 8 };

/** struct sockaddr_in or sockaddr_in6 without a port. */
function socketAddress(family: Family, address: Address): Uint8Array {
  const bytes = new Uint8Array(family === 4 ? 16 : 28);
  new DataView(bytes.buffer).setUint16(0, KINDS[family].domain, true);
  bytes.set(addressToBytes(address), ADDRESS_AT[family]);
  return bytes;
}

const time = new Uint32Array(4);

/** The clock by which the kernel stamps packets. @returns milliseconds since the epoch, with fractions */
export function realTime(): number {
  libc().clock_gettime(CLOCK_REALTIME, time);
  return milliseconds(time);
}

/** @param timespec seconds and nanoseconds of 64 bits each, by halves: big integers would be objects */
function milliseconds([low = 0, high = 0, nanoseconds = 0]: Uint32Array): number {
  return (high * 2 ** 32 + low) * 1000 + nanoseconds / 1_000_000;
}
