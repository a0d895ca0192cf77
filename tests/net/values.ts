import { type Address, parseAddress } from "../../src/net/address.ts";
import { type Mac, parseMac } from "../../src/net/mac.ts";
import { type Prefix, parsePrefix } from "../../src/net/prefix.ts";

/** Values from texts that the tests write themselves: a slip of the pen ends the test. */

function sound<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`the test has a malformed value: ${text}`);
  return value;
}

export const address = (text: string): Address => sound(parseAddress(text), text);
export const prefix = (text: string): Prefix => sound(parsePrefix(text), text);
export const mac = (text: string): Mac => sound(parseMac(text), text);
