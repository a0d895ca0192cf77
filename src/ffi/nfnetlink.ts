import { closeSync } from "node:fs";
import { constants } from "node:os";
import {
  AF_NETLINK,
  AF_UNSPEC,
  MSG_DONTWAIT,
  NETLINK_NETFILTER,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from "./constants.ts";
import { KernelError } from "./errors.ts";
import { openSocket, receive, sendTo, setSocketOption } from "./libc.ts";
import { answersOf } from "./libnl/answer.ts";
import { attributesOf, messagesOf, textOf } from "./libnl/wire.ts";

// linux/netfilter/nfnetlink.h, nf_tables.h
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;
const NFTA_TABLE_NAME = 1;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_HOOK_HOOKNUM = 1;

const RECEIVE_BUFFER = 1024 * 1024;
const DUMP_ATTEMPTS = 5;

/** Families of tables (linux/netfilter.h, NFPROTO_*) by the names that nft uses. */
const FAMILY_NAMES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};

export interface NftTable {
  /** `ip`, `ip6`, `inet`, … */
  readonly family: string;
  readonly name: string;
}

export interface NftChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** of a base chain: the number of its hook, 2 for forward (NF_INET_FORWARD) */
  readonly hook?: number;
  /** of a base chain: what becomes of a packet that comes to its end */
  readonly policy?: "accept" | "drop";
}

interface Reply {
  readonly family: number;
  /** behind the header */
  readonly attributes: ReturnType<typeof attributesOf>;
}

/** What nf_tables says of its rule set, without a library: microseconds each. It covers iptables-nft's tables, too. */
export class Nfnetlink implements Disposable {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(64 * 1024);
  #sequence = 0;
  #open = true;

  /** In the network namespace that the thread is in. @throws KernelError */
  constructor() {
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    setSocketOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
  }

  /** A number that every change of the rule set raises. @returns undefined where the kernel has no nf_tables */
  generation(): number | undefined {
    const [reply] = this.#ask(NFT_MSG_GETGEN, 0, "the rule set's generation") ?? [];
    const id = reply?.attributes.find(({ type }) => type === NFTA_GEN_ID);
    return id && u32be(id.value);
  }

  /** All tables; none where the kernel has no nf_tables. @throws KernelError */
  tables(): NftTable[] {
    return this.#dump(NFT_MSG_GETTABLE, "the tables").map(({ family, attributes }) => ({
      family: familyName(family),
      name: text(attributes, NFTA_TABLE_NAME),
    }));
  }

  /** All chains; none where the kernel has no nf_tables. @throws KernelError */
  chains(): NftChain[] {
    return this.#dump(NFT_MSG_GETCHAIN, "the chains").map(({ family, attributes }) => {
      const chain = {
        family: familyName(family),
        table: text(attributes, NFTA_CHAIN_TABLE),
        name: text(attributes, NFTA_CHAIN_NAME),
      };
      const nested = attributes.find(({ type }) => type === NFTA_CHAIN_HOOK);
      if (nested === undefined) return chain;
      const hook = attributesOf(nested.value).find(({ type }) => type === NFTA_HOOK_HOOKNUM);
      const policy = attributes.find(({ type }) => type === NFTA_CHAIN_POLICY);
      return {
        ...chain,
        ...(hook === undefined ? {} : { hook: u32be(hook.value) }),
        policy: policy !== undefined && u32be(policy.value) === 0 ? "drop" : "accept",
      };
    });
  }

  #dump(message: number, object: string): Reply[] {
    for (let attempt = 1; ; attempt++) {
      const replies = this.#ask(message, NLM_F_DUMP, object);
      if (replies !== undefined) return replies;
      if (attempt >= DUMP_ATTEMPTS) throw new KernelError("list", object, constants.errno.EINTR);
    }
  }

  /** @returns undefined when the rule set changed while it was listed */
  #ask(message: number, flags: number, object: string): Reply[] | undefined {
    const sequence = ++this.#sequence;
    // struct nlmsghdr, struct nfgenmsg
    const request = new DataView(new ArrayBuffer(20));
    request.setUint32(0, 20, true);
    request.setUint16(4, (NFNL_SUBSYS_NFTABLES << 8) | message, true);
    request.setUint16(6, NLM_F_REQUEST | flags, true);
    request.setUint32(8, sequence, true);
    request.setUint8(16, AF_UNSPEC);
    // struct sockaddr_nl of the kernel
    const kernel = new Uint8Array(12);
    kernel[0] = AF_NETLINK;
    sendTo(this.#fd, new Uint8Array(request.buffer), kernel, "nf_tables");
    return this.#read(sequence, flags !== 0, object);
  }

  #read(sequence: number, isDump: boolean, object: string): Reply[] | undefined {
    const replies: Reply[] = [];
    let interrupted = false;
    for (;;) {
      const length = receive(this.#fd, this.#buffer, MSG_DONTWAIT);
      if (length === -constants.errno.EINTR) continue;
      if (length < 0) throw new KernelError("get", object, -length);
      // What is kept outlives the buffer.
      const datagram = this.#buffer.slice(0, length);
      for (const { sequence: to, errno } of answersOf(datagram)) {
        if (to !== sequence) continue;
        // The kernel knows no such subsystem.
        if (errno === constants.errno.EINVAL || errno === constants.errno.EOPNOTSUPP) return [];
        if (errno !== 0) throw new KernelError("get", object, errno);
      }
      for (const { type, flags, sequence: to, payload } of messagesOf(datagram)) {
        if (to !== sequence) continue;
        if (flags & NLM_F_DUMP_INTR) interrupted = true;
        if (type === NLMSG_DONE) return interrupted ? undefined : replies;
        if (type >> 8 === NFNL_SUBSYS_NFTABLES) {
          replies.push({ family: payload[0] ?? 0, attributes: attributesOf(payload, 4) });
          if (!isDump) return replies;
        }
      }
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }
}

function familyName(family: number): string {
  return FAMILY_NAMES[family] ?? `family ${family}`;
}

function text(attributes: Reply["attributes"], type: number): string {
  const found = attributes.find((attribute) => attribute.type === type);
  return found === undefined ? "" : textOf(found.value);
}

function u32be(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0);
}
