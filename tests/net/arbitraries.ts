import fc from "fast-check";
import { type Address, addressFromBytes } from "../../src/net/address.ts";
import { ADDRESS_BITS, FAMILIES, type Family } from "../../src/net/family.ts";
import { type Mac, macFromBytes } from "../../src/net/mac.ts";
import { makePrefix, type Prefix } from "../../src/net/prefix.ts";

/** Values of the net folder at random, for property tests of all that stands on them. */

export const anyFamily: fc.Arbitrary<Family> = fc.constantFrom(...FAMILIES);

const byte = fc.integer({ min: 0, max: 255 });
/** Zero bytes are frequent, for they are what texts of addresses shorten. */
const sparseByte = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: byte });

export function anyAddress(family: Family): fc.Arbitrary<Address> {
  const length = ADDRESS_BITS[family] / 8;
  return fc
    .array(fc.oneof(byte, sparseByte), { minLength: length, maxLength: length })
    .map((bytes) => addressFromBytes(Uint8Array.from(bytes)));
}

export function anyPrefix(family: Family): fc.Arbitrary<Prefix> {
  return fc
    .tuple(anyAddress(family), fc.integer({ min: 0, max: ADDRESS_BITS[family] }))
    .map(([address, length]) => makePrefix(address, length));
}

export const anyMac: fc.Arbitrary<Mac> = fc
  .array(byte, { minLength: 6, maxLength: 6 })
  .map((bytes) => macFromBytes(Uint8Array.from(bytes)));
