import type { Pointer } from "bun:ffi";
import { type Address, addressToBytes } from "../../net/address.ts";
import type { Family } from "../../net/family.ts";
import { type Mac, macToBytes } from "../../net/mac.ts";
import { AF_INET, AF_INET6, AF_UNSPEC } from "../constants.ts";
import { allocated, check, nl } from "./symbols.ts";

const ADDRESS_FAMILY: Readonly<Record<Family, number>> = { 4: AF_INET, 6: AF_INET6 };

export function addressFamily(family: Family): number {
  return ADDRESS_FAMILY[family];
}

/**
 * An owned `nl_addr` whose bytes can be set anew. Objects that it was given to keep a reference to it and see the new
 * bytes: that is how one route or neighbour object serves for thousands of messages.
 */
export class AddressHandle implements Disposable {
  readonly pointer: Pointer;

  private constructor(pointer: Pointer) {
    this.pointer = pointer;
  }

  static forFamily(family: Family): AddressHandle {
    return AddressHandle.#build(ADDRESS_FAMILY[family], new Uint8Array(family === 4 ? 4 : 16));
  }

  static forMac(): AddressHandle {
    return AddressHandle.#build(AF_UNSPEC, new Uint8Array(6));
  }

  static #build(family: number, bytes: Uint8Array): AddressHandle {
    return new AddressHandle(allocated(nl().nl_addr_build(family, bytes, bytes.length), "an address"));
  }

  setAddress(address: Address, prefixLength?: number): this {
    const bytes = addressToBytes(address);
    check(nl().nl_addr_set_binary_addr(this.pointer, bytes, bytes.length), `set address ${address}`);
    nl().nl_addr_set_prefixlen(this.pointer, prefixLength ?? bytes.length * 8);
    return this;
  }

  setMac(mac: Mac): this {
    check(nl().nl_addr_set_binary_addr(this.pointer, macToBytes(mac), 6), `set address ${mac}`);
    return this;
  }

  [Symbol.dispose](): void {
    nl().nl_addr_put(this.pointer);
  }
}
