/** Files that the browser gets as they are; imported with { type: "text" }, so that the executable has them in it. */
declare module "./browser/*" {
  const text: string;

  export = text;
}
