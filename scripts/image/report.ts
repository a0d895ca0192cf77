// What the build says of an image's size.
import type { Image, Packed, Part } from "./image.ts";
import { sizeOf } from "./tree.ts";

/** The aim for one image, in bytes, compressed. */
export const MOST = 60e6;

export function sizes({ system, tartan }: Image, { content, digest, layers }: Packed): string {
  const groups: [parts: readonly Part[], title: string][] = [
    [system, "Debian's part"],
    [tartan, "tartan's part"],
  ];
  const lines = groups.flatMap(([parts, title], index) => [
    ...parts.map(({ name, tree }) => line(`  ${name}`, sizeOf(tree))),
    line(
      title,
      parts.reduce((sum, { tree }) => sum + sizeOf(tree), 0),
      layers[index]?.content.length,
    ),
  ]);
  return [
    `${"".padEnd(30)}${"MB".padStart(8)}${"compressed".padStart(12)}`,
    ...lines,
    line("the archive", undefined, content.length),
    `digest ${digest}`,
  ].join("\n");
}

function line(name: string, bytes?: number, compressed?: number): string {
  return `${name.padEnd(30)}${megabytes(bytes, 8)}${megabytes(compressed, 12)}`.trimEnd();
}

function megabytes(bytes: number | undefined, width: number): string {
  return (bytes === undefined ? "" : (bytes / 1e6).toFixed(2)).padStart(width);
}
