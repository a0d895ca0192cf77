import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG } from "../constants.ts";
import { attributesOf, messagesOf, textOf } from "./wire.ts";

/** The kernel's answer to one request: `struct nlmsgerr` (linux/netlink.h). */
export interface Answer {
  readonly sequence: number;
  /** 0 for success */
  readonly errno: number;
  readonly text?: string;
}

/** The answers among the messages of one datagram. */
export function* answersOf(datagram: Uint8Array): Generator<Answer> {
  for (const message of messagesOf(datagram)) {
    if (message.type !== NLMSG_ERROR || message.payload.length < 20) continue;
    const view = new DataView(message.payload.buffer, message.payload.byteOffset, message.payload.length);
    const errno = 0 - view.getInt32(0, true);
    const text = message.flags & NLM_F_ACK_TLVS ? extendedText(message.flags, message.payload, view) : undefined;
    yield { sequence: message.sequence, errno, ...(text === undefined ? {} : { text }) };
  }
}

function extendedText(flags: number, payload: Uint8Array, view: DataView): string | undefined {
  // The original request stands before the attributes: its header alone if it was capped.
  const original = flags & NLM_F_CAPPED ? 16 : (view.getUint32(4, true) + 3) & ~3;
  for (const attribute of attributesOf(payload.subarray(4 + original))) {
    if (attribute.type === NLMSGERR_ATTR_MSG) return textOf(attribute.value);
  }
  return undefined;
}
