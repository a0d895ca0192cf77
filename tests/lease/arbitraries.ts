import fc from "fast-check";
import { type Address, addressFromBigInt } from "../../src/net/address.ts";
import type { Family } from "../../src/net/family.ts";
import { isUnicastMac, macFromBytes } from "../../src/net/mac.ts";

/** Parts of leases at random, for property tests: all that a node may publish, and nothing that is refused. */

const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes).filter(isUnicastMac);

export const anyVtep = fc.record({ vni: fc.integer({ min: 0, max: 0xffffff }), mac: anyMac });

/** Without 0.0.0.0/8, 127.0.0.0/8 and what lies above 223.255.255.255; without ::, ::1 and ff00::/8. */
export const anyPublicAddress: Readonly<Record<Family, fc.Arbitrary<Address>>> = {
  4: fc
    .bigInt(0x01000000n, 0xdfffffffn)
    .filter((value) => value >> 24n !== 127n)
    .map((value) => addressFromBigInt(value, 4)),
  6: fc.bigInt(2n, (0xffn << 120n) - 1n).map((value) => addressFromBigInt(value, 6)),
};
