import type { Pointer } from "bun:ffi";
import {
  MSG_DONTWAIT,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  NETLINK_ROUTE,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_NOOP,
  SO_RCVBUFFORCE,
  SO_SNDBUFFORCE,
  SOL_NETLINK,
  SOL_SOCKET,
} from "../constants.ts";
import { receive, setSocketOption } from "../libc.ts";
import { allocated, check, nl } from "./symbols.ts";

/** Bytes that one `send` may have, about half of what it is set to. */
export const SEND_BUFFER = 256 * 1024;

export interface SocketOptions {
  /** multicast groups (RTNLGRP_*) whose notifications come in */
  readonly groups?: readonly number[];
  /** bytes; the kernel drops answers and notifications beyond it (ENOBUFS) */
  readonly receiveBuffer: number;
}

/** An owned routing netlink socket in the network namespace that the thread is in when it is opened. */
export class NetlinkSocket implements Disposable {
  readonly #socket: Pointer;
  readonly fd: number;
  #sequence = 0;

  constructor(options: SocketOptions) {
    this.#socket = allocated(nl().nl_socket_alloc(), "a socket");
    try {
      check(nl().nl_connect(this.#socket, NETLINK_ROUTE), "open a routing netlink socket");
      this.fd = nl().nl_socket_get_fd(this.#socket);
      setSocketOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBuffer);
      // libnl sets 32 KiB for both, which bounds the size of one send.
      setSocketOption(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER);
      // Short error answers with the kernel's own words, and dumps that the kernel filters. Kernels before 4.20 lack
      // the last one and send more, so what comes back is filtered again.
      setSocketOption(this.fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      setSocketOption(this.fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
      setSocketOption(this.fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
      for (const group of options.groups ?? []) {
        check(nl().nl_socket_add_membership(this.#socket, group), `join netlink group ${group}`);
      }
    } catch (error) {
      nl().nl_socket_free(this.#socket);
      throw error;
    }
  }

  /** A number for a request of this socket; its answers carry it. Never 0, which notifications have. */
  nextSequence(): number {
    this.#sequence = this.#sequence >= 0x7fffffff ? 1 : this.#sequence + 1;
    return this.#sequence;
  }

  /** Sends whole messages that lie in native memory. */
  send(memory: Pointer, length: number, operation: string): void {
    check(nl().nl_sendto(this.#socket, memory, length), operation);
  }

  /** Sends a request that does nothing; its acknowledgement comes after all that is on the way. @returns its number */
  sendMarker(): number {
    const sequence = this.nextSequence();
    const header = new Uint32Array([16, NLMSG_NOOP | ((NLM_F_REQUEST | NLM_F_ACK) << 16), sequence, 0]);
    check(nl().nl_sendto(this.#socket, header, 16), "send a marker");
    return sequence;
  }

  /** @returns bytes received, or the errno as a negative number (-EAGAIN: nothing there) */
  receive(into: Uint8Array): number {
    return receive(this.fd, into, MSG_DONTWAIT);
  }

  [Symbol.dispose](): void {
    nl().nl_socket_free(this.#socket);
  }
}
