// A picture that can't be made says so, in its place.

export function watchThumbnails(root) {
  for (const image of root.querySelectorAll("img.thumbnail")) {
    image.addEventListener("error", () => {
      const words = document.createElement("span");
      words.className = "thumbnail missing";
      words.textContent = "no picture";
      image.replaceWith(words);
    });
  }
}
