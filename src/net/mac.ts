declare const brand: unique symbol;

/** An Ethernet address as six lower-case hexadecimal pairs with colons. */
export type Mac = string & { readonly [brand]: "Mac" };

const PAIRS = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/;

export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return PAIRS.test(lower) ? (lower.replaceAll("-", ":") as Mac) : undefined;
}

/** @returns 6 bytes */
export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = Number.parseInt(mac.slice(3 * i, 3 * i + 2), 16);
  return bytes;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** @param bytes 6 bytes */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`an Ethernet address has 6 bytes, not ${bytes.length}`);
  let text = "";
  for (const byte of bytes) text += text === "" ? HEX[byte] : `:${HEX[byte]}`;
  return text as Mac;
}

/** True for the address of one station: not the zero address, no group bit (IEEE 802, bit 0 of the first byte). */
export function isUnicastMac(mac: Mac): boolean {
  return mac !== "00:00:00:00:00:00" && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
}

/** A random, locally administered unicast address, as flannel makes for its VTEP. */
export function randomMac(): Mac {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}
