import { closeSync } from "node:fs";
import {
  AF_NETLINK,
  NETLINK_ADD_MEMBERSHIP,
  NETLINK_DROP_MEMBERSHIP,
  NETLINK_NETFILTER,
  NETLINK_NO_ENOBUFS,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_NETLINK,
  SOL_SOCKET,
} from "./constants.ts";
import { bindSocket, openSocket, setSocketOption } from "./libc.ts";

/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;
/** That something changed is all that is wanted: what is beyond it is dropped. */
const RECEIVE_BUFFER = 16 * 1024;

/**
 * Wakes at a change of the nf_tables rule set, without polling. It listens only until the first one: kube-proxy may write
 * ten thousand rules, and the kernel would make a message for each.
 */
export class NftablesWatch implements Disposable {
  readonly #fd: number;
  readonly #reader: { read(): Promise<{ done: boolean }>; cancel(): Promise<void> };
  readonly #onChange: () => void;
  #armed = false;
  #state: "open" | "broken" | "closed" = "open";

  /** In the network namespace that the thread is in; not armed yet. @throws KernelError */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    // struct sockaddr_nl: the kernel chooses the port.
    const address = new Uint8Array(12);
    address[0] = AF_NETLINK;
    bindSocket(this.#fd, address, "nf_tables' notifications");
    setSocketOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    // The runtime waits for it in its event loop, not in a thread.
    this.#reader = Bun.file(this.#fd).stream().getReader();
    void this.#read();
  }

  /** Nothing will come any more: make another one. */
  get isBroken(): boolean {
    return this.#state !== "open";
  }

  /** The next change is told; of those behind it nothing is, until this is called again. */
  arm(): void {
    if (this.#armed || this.#state !== "open") return;
    this.#armed = setSocketOption(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES);
  }

  async #read(): Promise<void> {
    try {
      while (this.#state === "open") {
        const { done } = await this.#reader.read();
        if (done) break;
        this.#changed();
      }
    } catch {
      // What is said below: a check, and another watch.
    }
    if (this.#state !== "open") return;
    this.#state = "broken";
    this.#changed();
  }

  #changed(): void {
    if (!this.#armed) return;
    this.#armed = false;
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, NFNLGRP_NFTABLES);
    this.#onChange();
  }

  [Symbol.dispose](): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, NFNLGRP_NFTABLES);
    void this.#reader.cancel().finally(() => closeSync(this.#fd));
  }
}
