/*
 * QuPath -> mammoseg: write every image of the project at full resolution, and its annotations as GeoJSON next to it.
 *
 *   <project>/mammoseg/<image>.tif        the pixels as QuPath reads them, 8 or 16 bits
 *   <project>/mammoseg/<image>.geojson    its annotations; no file for an image without any
 *
 * Then, in a terminal:
 *   python -m scripts.prepare qupath <project>/mammoseg data/mine --classes "background,gland,tumor"
 *
 * Save first (File > Save): only saved data is exported. Run once (Run > Run), not "Run for project". Without a window:
 *   QuPath script docs/qupath/export_project.groovy --project project.qpproj [--args FOLDER]
 */

def ending = '.tif'      // or '.png'
def imagesAgain = false // true: rewrite existing images

// The same in both scripts: a unique file name for each image of the project, of letters, digits, '.', '_' and '-'
def entriesByName(project) {
    def found = [:]
    def taken = new HashSet()
    for (entry in project.getImageList()) {
        def name = String.valueOf(entry.getImageName())
        name = name.replaceAll('(?i)([.](dcm|dicom|png|jpe?g|tiff?|bmp|ome))+$', '')
        name = name.replaceAll('[^A-Za-z0-9._-]+', '_').replaceAll('^[._-]+|[._-]+$', '')
        name = name.take(100)
        if (name.isEmpty() || name.matches('(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?')) {
            name = 'image_' + name
        }
        def candidate = name
        def number = 1
        while (!taken.add(candidate.toLowerCase())) {
            number++
            candidate = name + '_' + number
        }
        found.put(candidate, entry)
    }
    return found
}

def project = getProject()
if (project == null) {
    throw new IllegalStateException('No project is open; open the project whose images are to be exported')
}
def given = binding.hasVariable('args') && args ? args[0] : null
def folder = given ?: buildFilePath(PROJECT_BASE_DIR, 'mammoseg')
mkdirs(folder)
def images = 0
def annotated = 0
entriesByName(project).each { name, entry ->
    def imageData = entry.readImageData()
    def server = imageData.getServer()
    try {
        if (server.nZSlices() > 1 || server.nTimepoints() > 1) {
            println 'skipped, has several planes: ' + name
            return
        }
        def image = new File(folder, name + ending)
        if (imagesAgain || !image.exists()) {
            writeImage(server, image.getPath())
        }
        images++
        def annotations = imageData.getHierarchy().getAnnotationObjects()
        def file = new File(folder, name + '.geojson')
        if (annotations.isEmpty()) {
            if (file.exists()) {
                println 'image has no annotations now, remove this file if it is out of date: ' + file.getName()
            }
            return
        }
        exportObjectsToGeoJson(annotations, file.getPath(), 'FEATURE_COLLECTION')
        annotated++
    } finally {
        server.close()
    }
}
println images + ' images, ' + annotated + ' of them with annotations, in ' + folder
