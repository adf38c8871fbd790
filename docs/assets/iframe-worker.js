// Search off a disk: browsers start no Worker from a file, so one runs in a frame of its own instead.
(() => {
  if (location.protocol !== "file:") return
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      this.heard = event => {
        if (event.source !== inside) return
        event.stopImmediatePropagation()
        const answer = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(answer)
        this.onmessage?.(answer)
      }
      window.addEventListener("message", this.heard)
      const page = this.frame.contentDocument
      page.open()
      page.write("<body></body>")
      page.close()
      const load = source => new Promise((done, failed) => {
        const script = page.createElement("script")
        script.src = source
        script.onload = done
        script.onerror = () => failed(new Error(`cannot load ${source}`))
        page.body.append(script)
      })
      inside.postMessage = data => window.dispatchEvent(new MessageEvent("message", { data, source: inside }))
      inside.importScripts = (...sources) => sources.reduce((before, each) => before.then(() => load(each)), Promise.resolve())
      this.ready = load(new URL(url, location.href).href)
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      window.removeEventListener("message", this.heard)
      this.frame.remove()
    }
  }
})()
