import { type Pointer, read, toArrayBuffer } from "bun:ffi";
import { constants } from "node:os";
import { NLM_F_ACK, NLM_F_REQUEST } from "../constants.ts";
import { KernelError } from "../errors.ts";
import { libc } from "../libc.ts";
import { answersOf } from "./answer.ts";
import type { Message } from "./message.ts";
import { type NetlinkSocket, SEND_BUFFER } from "./socket.ts";
import { allocated, nl } from "./symbols.ts";

/** Bytes of one send: about 2,500 route requests, which the kernel handles in about 25 ms. */
const CAPACITY = SEND_BUFFER / 2;

/** What an operation was, for its error: `replace route`, `10.244.1.0/24`. */
export interface Label {
  readonly operation: string;
  readonly object: string;
}

export interface Failure<T> {
  readonly tag: T;
  readonly error: KernelError;
}

/**
 * Collects messages in native memory and sends many at once. Only the last one asks for an acknowledgement: the kernel
 * handles them in order and answers each error by itself, with the message's number.
 */
export class Batch<T extends Label> implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #memory: Pointer;
  readonly #view: DataView;
  readonly #receiveBuffer = new Uint8Array(64 * 1024);
  readonly #pending = new Map<number, T>();
  #used = 0;
  #last = { offset: 0, sequence: 0 };

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
    this.#memory = allocated(libc().malloc(CAPACITY), "a batch");
    this.#view = new DataView(toArrayBuffer(this.#memory, 0, CAPACITY));
  }

  /** Messages that wait for `flush`. */
  get size(): number {
    return this.#pending.size;
  }

  /** Takes over the message. @returns false when there is no room: flush, then add it again */
  add(message: Message, tag: T): boolean {
    const header = allocated(nl().nlmsg_hdr(message), "a header");
    const length = read.u32(header, 0);
    const padded = (length + 3) & ~3;
    if (this.#used + padded > CAPACITY) return false;
    const offset = this.#used;
    libc().memcpy((this.#memory + offset) as Pointer, header, length);
    nl().nlmsg_free(message);
    const sequence = this.#socket.nextSequence();
    this.#addFlags(offset, NLM_F_REQUEST);
    this.#view.setUint32(offset + 8, sequence, true);
    this.#view.setUint32(offset + 12, 0, true);
    this.#pending.set(sequence, tag);
    this.#last = { offset, sequence };
    this.#used = offset + padded;
    return true;
  }

  /** Sends what is there and reads the answers. @returns those that the kernel refused; the others are done */
  flush(): Failure<T>[] {
    if (this.#pending.size === 0) return [];
    this.#addFlags(this.#last.offset, NLM_F_ACK);
    const pending = new Map(this.#pending);
    const length = this.#used;
    this.#pending.clear();
    this.#used = 0;
    this.#socket.send(this.#memory, length, `send ${pending.size} requests`);
    return this.#readAnswers(pending, this.#last.sequence);
  }

  /** Sends one message whose answers the caller reads. @returns its number */
  sendOnly(message: Message, tag: T): number {
    if (!this.add(message, tag)) throw new RangeError(`${tag.operation} ${tag.object}: the message is too large`);
    this.#pending.clear();
    const length = this.#used;
    this.#used = 0;
    this.#socket.send(this.#memory, length, `${tag.operation} ${tag.object}`);
    return this.#last.sequence;
  }

  #addFlags(offset: number, flags: number): void {
    this.#view.setUint16(offset + 6, this.#view.getUint16(offset + 6, true) | flags, true);
  }

  #readAnswers(pending: ReadonlyMap<number, T>, lastSequence: number): Failure<T>[] {
    const failures: Failure<T>[] = [];
    for (;;) {
      const length = this.#socket.receive(this.#receiveBuffer);
      if (length < 0) {
        // The kernel has handled everything before send returned; without the last answer, answers were dropped
        // (ENOBUFS), and which requests they were for can only be seen by reading the state again.
        const last = pending.get(lastSequence);
        if (last === undefined) return failures;
        const errno = -length === constants.errno.EAGAIN ? constants.errno.ENOBUFS : -length;
        failures.push({ tag: last, error: new KernelError(last.operation, last.object, errno, "answers were lost") });
        return failures;
      }
      for (const answer of answersOf(this.#receiveBuffer.subarray(0, length))) {
        const tag = pending.get(answer.sequence);
        if (tag !== undefined && answer.errno !== 0) {
          failures.push({ tag, error: new KernelError(tag.operation, tag.object, answer.errno, answer.text) });
        }
        if (answer.sequence === lastSequence) return failures;
      }
    }
  }

  [Symbol.dispose](): void {
    libc().free(this.#memory);
  }
}
