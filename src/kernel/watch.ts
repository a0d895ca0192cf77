import { read } from "node:fs";
import { constants } from "node:os";
import * as c from "../ffi/constants.ts";
import { KernelError } from "../ffi/errors.ts";
import { answersOf } from "../ffi/libnl/answer.ts";
import { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { messagesOf } from "../ffi/libnl/wire.ts";
import { decodeEvent } from "./decode.ts";
import type { KernelEvent } from "./state.ts";

/** Holds the notifications of about 10,000 changes that come before we get to read them. */
const RECEIVE_BUFFER = 16 * 1024 * 1024;
const FENCE_TIMEOUT_MS = 2_000;

const GROUPS = [
  c.RTNLGRP_LINK,
  c.RTNLGRP_NEIGH,
  c.RTNLGRP_IPV4_IFADDR,
  c.RTNLGRP_IPV4_ROUTE,
  c.RTNLGRP_IPV6_IFADDR,
  c.RTNLGRP_IPV6_ROUTE,
];

export interface WatchHandlers {
  /** each notification in the kernel's order */
  onEvent(event: KernelEvent): void;
  /** notifications were lost: only a full read tells the state */
  onOverflow(): void;
  /** the socket is broken and the watch has ended */
  onFailure(error: Error): void;
}

/**
 * The kernel's notifications, without polling: a read that blocks in the runtime's thread pool wakes us, and what is
 * there beside is then received at once.
 */
export class KernelWatch {
  readonly #socket: NetlinkSocket;
  readonly #handlers: WatchHandlers;
  readonly #first = new Uint8Array(64 * 1024);
  readonly #more = new Uint8Array(64 * 1024);
  readonly #fences = new Map<number, (seen: boolean) => void>();
  #closed = false;

  constructor(handlers: WatchHandlers) {
    this.#socket = new NetlinkSocket({ groups: GROUPS, receiveBuffer: RECEIVE_BUFFER });
    this.#handlers = handlers;
    this.#wait();
  }

  /**
   * Resolves when everything that the kernel reported up to now has been handed on: an empty request to the kernel on
   * the same socket is answered behind it.
   * @returns false when the answer did not come, because it was lost in an overflow or the watch was closed
   */
  fence(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const sequence = this.#socket.sendMarker();
    const timer = setTimeout(() => this.#settle(sequence, false), FENCE_TIMEOUT_MS);
    this.#fences.set(sequence, (seen) => {
      clearTimeout(timer);
      resolve(seen);
    });
    return promise;
  }

  /** The socket is freed once the pending read has returned, which the marker makes it do. */
  close(): void {
    if (this.#closed) return;
    this.#socket.sendMarker();
    this.#closed = true;
    this.#settleAll();
  }

  #wait(): void {
    read(this.#socket.fd, this.#first, 0, this.#first.length, null, (error, length) => {
      if (this.#closed) {
        this.#socket[Symbol.dispose]();
        return;
      }
      if (error === null) this.#take(this.#first.subarray(0, length));
      else if (error.code === "ENOBUFS") this.#overflow();
      else if (error.code !== "EINTR" && error.code !== "EAGAIN") return this.#fail(error);
      if (this.#drain()) this.#wait();
    });
  }

  /** @returns false when the watch has ended */
  #drain(): boolean {
    for (;;) {
      const length = this.#socket.receive(this.#more);
      if (length >= 0) this.#take(this.#more.subarray(0, length));
      else if (length === -constants.errno.EAGAIN) return true;
      else if (length === -constants.errno.ENOBUFS) this.#overflow();
      else if (length !== -constants.errno.EINTR) {
        this.#fail(new KernelError("receive", "notifications", -length));
        return false;
      }
    }
  }

  #take(datagram: Uint8Array): void {
    for (const { sequence } of answersOf(datagram)) this.#settle(sequence, true);
    for (const message of messagesOf(datagram)) {
      const event = decodeEvent(message);
      if (event !== undefined) this.#handlers.onEvent(event);
    }
  }

  #overflow(): void {
    this.#handlers.onOverflow();
    // An answer may be among what was lost.
    this.#settleAll();
  }

  #fail(error: Error): void {
    this.#closed = true;
    this.#settleAll();
    this.#socket[Symbol.dispose]();
    this.#handlers.onFailure(error);
  }

  #settle(sequence: number, seen: boolean): void {
    const settle = this.#fences.get(sequence);
    this.#fences.delete(sequence);
    settle?.(seen);
  }

  #settleAll(): void {
    for (const sequence of [...this.#fences.keys()]) this.#settle(sequence, false);
  }
}
