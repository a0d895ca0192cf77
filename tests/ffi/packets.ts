/** Netlink packets made by hand, for tests of what reads them. */

export const u8 = (value: number): number[] => [value & 0xff];
export const u16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
export const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
export const text = (value: string): number[] => [...new TextEncoder().encode(value), 0];

const padded = (bytes: readonly number[]): number[] => [
  ...bytes,
  ...new Array<number>((4 - (bytes.length % 4)) % 4).fill(0),
];

/** `struct nlattr` with its value, padded. */
export function attribute(type: number, value: readonly number[]): number[] {
  return padded([...u16(4 + value.length), ...u16(type), ...value]);
}

/** `struct nlmsghdr` with its payload, padded. */
export function message(
  type: number,
  payload: readonly number[],
  { flags = 0, sequence = 0 }: { flags?: number; sequence?: number } = {},
): number[] {
  return padded([...u32(16 + payload.length), ...u16(type), ...u16(flags), ...u32(sequence), ...u32(0), ...payload]);
}

export const datagram = (...messages: readonly number[][]): Uint8Array => Uint8Array.from(messages.flat());
