import { closeSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { hasCode } from "../base/errors.ts";
import type { Family } from "../net/family.ts";
import { AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_RAW, SOCK_CLOEXEC, SOCK_RAW } from "./constants.ts";
import { KernelError } from "./errors.ts";
import { errno, getSocketOption, openSocket } from "./libc.ts";
import { textOf, u16, u32 } from "./libnl/wire.ts";

// linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h: the same numbers for both
const SO_GET_INFO = 64;
const SO_GET_ENTRIES = 65;

/** Where things are in struct ipt_getinfo: the offset of each hook's last rule, the size of all rules. */
const INFO = { bytes: 84, underflow: 56, size: 80 };
/** struct ipt_get_entries: the name, the size, then the rules. */
const ENTRIES = { size: 32, start: 40 };
/** NF_INET_FORWARD */
const FORWARD = 2;
/** struct xt_entry_target stands before a verdict, and this is how NF_DROP is written there. */
const TARGET_HEADER = 32;
const TARGET_NAME = 2;
const LETTER_E = 0x45;
const VERDICT_DROP = -1;
/** The fingerprint of a chain that is not there. */
const NO_CHAIN = "none";

const LAYOUT = {
  // struct ipt_entry
  4: { domain: AF_INET, level: IPPROTO_IP, names: "ip_tables_names", targetOffset: 88, nextOffset: 90, counters: 96 },
  // struct ip6t_entry
  6: {
    domain: AF_INET6,
    level: IPPROTO_IPV6,
    names: "ip6_tables_names",
    targetOffset: 140,
    nextOffset: 142,
    counters: 152,
  },
} as const;
const COUNTER_BYTES = 16;

export interface LegacyTable {
  /** changes with the rules of a chain and the jumps to it; not with their counters, nor with other chains */
  fingerprint(chain: string): string;
  /** what the policy of FORWARD does, if the table has that chain */
  readonly dropsForwarded: boolean;
  /** whether it has a user's chain of this name; a comment that speaks of one is none */
  has(chain: string): boolean;
}

/** The tables of legacy iptables as the kernel holds them, read without a fork (iptables' libiptc does the same). */
export class LegacyTables implements Disposable {
  readonly #layout: (typeof LAYOUT)[Family];
  readonly #fd: number;
  #open = true;

  /** In the network namespace that the thread is in. @throws KernelError */
  constructor(family: Family) {
    this.#layout = LAYOUT[family];
    this.#fd = openSocket(this.#layout.domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  }

  /** The tables that are there. To ask for another one would make it. */
  names(): string[] {
    try {
      return readFileSync(`/proc/thread-self/net/${this.#layout.names}`, "utf8").split("\n").filter(Boolean);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    }
  }

  /** @param table one of `names()` @throws KernelError */
  read(table: string): LegacyTable {
    // Whoever replaces the table between the two requests makes the second one fail.
    for (let attempt = 1; ; attempt++) {
      const info = this.#named(table, INFO.bytes);
      this.#get(SO_GET_INFO, info, table);
      const size = u32(info, INFO.size);
      const entries = this.#named(table, ENTRIES.start + size);
      new DataView(entries.buffer).setUint32(ENTRIES.size, size, true);
      if (getSocketOption(this.#fd, this.#layout.level, SO_GET_ENTRIES, entries)) {
        const rules = entries.subarray(ENTRIES.start);
        return {
          fingerprint: (chain) => this.#fingerprint(rules, chain),
          dropsForwarded: this.#dropsForwarded(info, rules),
          // Most tables hold no such text at all, and to look for that is quick.
          has: (chain) => Buffer.from(rules.buffer).includes(chain) && this.#fingerprint(rules, chain) !== NO_CHAIN,
        };
      }
      const code = errno();
      if (code !== constants.errno.EAGAIN || attempt >= 5) throw new KernelError("read", `legacy table ${table}`, code);
    }
  }

  #named(table: string, bytes: number): Uint8Array<ArrayBuffer> {
    const buffer = new Uint8Array(bytes);
    new TextEncoder().encodeInto(table, buffer.subarray(0, 31));
    return buffer;
  }

  #get(option: number, buffer: Uint8Array, table: string): void {
    if (!getSocketOption(this.#fd, this.#layout.level, option, buffer))
      throw new KernelError("read", `legacy table ${table}`, errno());
  }

  #fingerprint(rules: Uint8Array, chain: string): string {
    const { targetOffset } = this.#layout;
    let start: number | undefined;
    let end = rules.length;
    const jumps = new Map<number, number[]>();
    for (let at = 0, length = 0; at + targetOffset < rules.length; at += length) {
      length = u16(rules, at + this.#layout.nextOffset);
      if (length === 0) break;
      const target = at + u16(rules, at + targetOffset);
      // A standard target has no name and holds a verdict, or where it jumps to.
      const firstLetter = rules[target + TARGET_NAME];
      if (firstLetter === 0) {
        const to = u32(rules, target + TARGET_HEADER);
        if (to < rules.length) jumps.set(to, [...(jumps.get(to) ?? []), at]);
      } else if (
        firstLetter === LETTER_E &&
        textOf(rules.subarray(target + TARGET_NAME, target + TARGET_HEADER)) === "ERROR"
      ) {
        // Such a target stands before each chain of a user, with its name, and at the table's end.
        if (start !== undefined && end === rules.length) end = at;
        if (textOf(rules.subarray(target + TARGET_HEADER)) === chain) start = at + length;
      }
    }
    if (start === undefined) return NO_CHAIN;
    const own = this.#withoutCounters(rules.slice(start, end));
    const toIt = (jumps.get(start) ?? []).map((at) => {
      const jump = this.#withoutCounters(rules.slice(at, at + u16(rules, at + this.#layout.nextOffset)));
      // Where the chain lies depends on the chains before it.
      jump.fill(0, u16(jump, targetOffset) + TARGET_HEADER);
      return Bun.hash(jump);
    });
    return `${Bun.hash(own)} from ${toIt.join(" ")}`;
  }

  /** Of one or more rules; also without the marks of the kernel that stand before the counters. */
  #withoutCounters(rules: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { counters, nextOffset } = this.#layout;
    for (let at = 0; at + counters + COUNTER_BYTES <= rules.length; ) {
      const length = u16(rules, at + nextOffset);
      if (length === 0) break;
      rules.fill(0, at + nextOffset + 2, at + counters + COUNTER_BYTES);
      at += length;
    }
    return rules;
  }

  #dropsForwarded(info: Uint8Array, rules: Uint8Array): boolean {
    const hooks = u32(info, 32);
    if ((hooks & (1 << FORWARD)) === 0) return false;
    const policy = u32(info, INFO.underflow + 4 * FORWARD);
    const verdict = policy + u16(rules, policy + this.#layout.targetOffset) + TARGET_HEADER;
    return (u32(rules, verdict) | 0) === VERDICT_DROP;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }
}
