import type { Pointer } from "bun:ffi";
import { allocated, check, nl } from "./symbols.ts";

declare const brand: unique symbol;

/** An `nl_msg` that belongs to whoever holds it: handed to `Batch.add` or `NetlinkSocket.request`, which free it. */
export type Message = Pointer & { readonly [brand]: "Message" };

const out = new BigUint64Array(1);

/** Calls one of libnl's `*_build_*_request(…, nl_msg **result)`; `build` gets the place for the result. */
export function buildMessage(operation: string, build: (result: BigUint64Array) => number): Message {
  out[0] = 0n;
  check(build(out), operation);
  return allocated(Number(out[0]) as Pointer, "a message") as Message;
}

/** A message of a header and a payload as given, for dumps. */
export function plainMessage(type: number, flags: number, payload: Uint8Array): Message {
  const message = allocated(nl().nlmsg_alloc_simple(type, flags), "a message") as Message;
  const code = payload.length > 0 ? nl().nlmsg_append(message, payload, payload.length, 4) : 0;
  if (code < 0) nl().nlmsg_free(message);
  check(code, "build a netlink message");
  return message;
}
