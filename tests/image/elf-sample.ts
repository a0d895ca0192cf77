/** A program that is loaded to `address` as a whole, with a loader's name and a dynamic section in it. */
export function program({ needed = ["libc.so.6"], machine = 62, address = 0x400000 } = {}): Uint8Array {
  const bytes = Buffer.alloc(4096);
  bytes.write("\x7fELF", 0, "latin1");
  bytes.set([2, 1, 1], 4);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(3, 56);
  const segment = (index: number, type: number, offset: number, size: number) => {
    const at = 64 + index * 56;
    bytes.writeUInt32LE(type, at);
    bytes.writeBigUInt64LE(BigInt(offset), at + 8);
    bytes.writeBigUInt64LE(BigInt(offset + address), at + 16);
    bytes.writeBigUInt64LE(BigInt(size), at + 32);
  };
  segment(0, 1, 0, bytes.length);
  segment(1, 3, 1024, 32);
  bytes.write("/lib64/loader.so.2\0", 1024);
  const strings = `\0${needed.join("\0")}\0`;
  bytes.write(strings, 3072);
  const entries = [
    ...needed.map((name) => [1, strings.indexOf(name)] as const),
    [5, 3072 + address] as const,
    [0, 0] as const,
  ];
  segment(2, 2, 2048, entries.length * 16);
  for (const [index, [tag, value]] of entries.entries()) {
    bytes.writeBigUInt64LE(BigInt(tag), 2048 + index * 16);
    bytes.writeBigUInt64LE(BigInt(value), 2048 + index * 16 + 8);
  }
  return new Uint8Array(bytes);
}
